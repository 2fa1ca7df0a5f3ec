"""Which characters are text, and what a stranger's file name becomes."""

import sys
import time

import pytest

from core import text_safety


def test_the_pattern_names_exactly_the_characters_that_are_at_fault() -> None:
    everything = map(chr, range(sys.maxunicode + 1))
    assert [c for c in everything if bool(text_safety.UNCLEAN.match(c)) != (text_safety._fault(c) is not None)] == []


def test_a_fault_is_named_with_its_line() -> None:
    with pytest.raises(text_safety.UncleanText, match=r"control character U\+0000 in line 3"):
        text_safety.clean("a\nb\nc\0")


def test_a_byte_order_mark_and_foreign_line_ends_are_gone() -> None:
    assert text_safety.decode("\ufeffa\r\nb\rc".encode()) == "a\nb\nc"


def test_letters_with_accents_have_one_form() -> None:
    assert text_safety.clean("e\u0301") == "\u00e9"


def test_twenty_megabytes_are_read_in_a_blink() -> None:
    began = time.process_time()
    text_safety.decode(b"lorem ipsum dolor\n" * 1_100_000)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\a.png", "a.png"),
        ("a\0b.png", "ab.png"),
        (".", "unnamed"),
        ("", "unnamed"),
        ("x" * 200 + ".png", f"{'x' * 48}~{'x' * 47}.png"),
        ("a" * 200 + "-7.png", f"{'a' * 48}~{'a' * 45}-7.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("cat 😺.png", "cat 😺.png"),
    ],
)
def test_a_name_becomes_a_short_label(name: str, shown: str) -> None:
    assert text_safety.display_name(name) == shown
