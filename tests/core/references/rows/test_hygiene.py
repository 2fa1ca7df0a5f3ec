"""What is cleaned in texts that are learned, what is kept, and what can't be stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.references.rows import hygiene
from core.references.rows.hygiene import Washing, cleaned, decoded
from core.text_safety import UncleanText

DIRT = "\r\n\x0b\x0c\x1b[0m\x9b\x85\x91\x07\x08_a\u200e\u202b\u202c\u202e\u2066\u2069\ufeffא"


@pytest.mark.parametrize(
    ("text", "plain", "what"),
    [
        ("Dear guest,\r\nwelcome\rback", "Dear guest,\nwelcome\nback", hygiene.LINE_END),
        ("harbour\x85next", "harbour\nnext", hygiene.LINE_END),
        ("one\x0ctwo\x0bthree", "one\ntwo\nthree", hygiene.PAGE),
        ("\x1b[32mgreen\x1b[0m", "green", hygiene.ESCAPE),
        ("\x1b]0;a title\x07text", "text", hygiene.ESCAPE),
        ("\x1bHello", "Hello", hygiene.ESCAPE),
        ("\x9b31mred", "red", hygiene.ESCAPE),
        ("it\x92s \x93so\x94 \x96 yes\x85", "it\u2019s \u201cso\u201d \u2013 yes\u2026", hygiene.WINDOWS),
        ("N\x08NA\x08A _\x08x", "NA x", hygiene.CONTROL),
        ("ding\x07\x7f", "ding", hygiene.CONTROL),
        ("\ufeffab\ufeffc", "abc", hygiene.ORDER_MARK),
        ("evil \u202eelif\u202c", "evil elif", hygiene.DIRECTION),
        ("\u200e12/3/2020", "12/3/2020", hygiene.DIRECTION),
        ("\u202bשלג", "שלג", hygiene.DIRECTION),  # never closed
        ("\u202bשלג\u202c\n\u202eabc\u202c", "\u202bשלג\u202c\nabc", hygiene.DIRECTION),
    ],
)
def test_what_is_surely_an_accident_is_cleaned(text: str, plain: str, what: tuple[str, str]) -> None:
    found, counts = cleaned(text)
    assert found == plain
    assert set(counts) == {what}


@pytest.mark.parametrize(
    "text",
    [
        "\u202bשלג בהר?\u202c",
        "\u2067שלג\u2069 abc",
        "שלג\u200f!",
        "a\u2028b\u2029c",
        "\U0001f469\u200d\U0001f467",
        "soft\xadly\u200b",
        "tab\tand\nline",
        "שָׁלוֹם",
    ],
)
def test_what_means_something_is_kept(text: str) -> None:
    assert cleaned(text) == (text, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\nb\0", r"null character U\+0000 in line 2, column 2"),
        ("\ud83d", r"lone surrogate U\+D83D in line 1, column 1"),
        ("a" + "\u0301" * 40, "more than 30 combining marks"),
        ("a" + "\u0301\ufeff" * 40, "more than 30 combining marks"),
    ],
)
def test_what_can_not_be_stored_is_named_by_line_and_column(text: str, words: str) -> None:
    with pytest.raises(UncleanText, match=words):
        cleaned(text)


def test_captions_keep_no_marks_of_direction() -> None:
    assert cleaned("\u202bשלג\u202c", directions=False)[0] == "שלג"


@given(st.text(st.sampled_from(DIRT), max_size=60))
def test_to_clean_twice_changes_nothing(text: str) -> None:
    once, _ = cleaned(text)
    assert cleaned(once) == (once, {})


def test_the_first_place_and_the_count_of_each_kind_are_told() -> None:
    washing = Washing()
    washing.clean("clean", "line 1")
    washing.clean("a\x1b[0m", "line 2")
    washing.clean("\x1b[1mb\x1b[0m\ufeff", "line 3")
    assert [(notice.place, notice.detail) for notice in washing.notices()] == [
        ("line 2", "3 escape sequences of a terminal"),
        ("line 3", "1 byte order mark"),
    ]


@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_says_how_a_file_is_written(codec: str) -> None:
    assert decoded("Käse\r\n😺".encode(codec))[0] == "Käse\n😺"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Where is the inn?".encode("utf-16-le"), "looks like UTF-16 without"),
        ("It\u2019s the \u201cinn\u201d, yes".encode("utf-16-be"), "looks like UTF-16 without"),
        ("Where is the inn?".encode("utf-32-be"), "looks like UTF-32 without"),
        (b"\xff\xfe\0", "begins as UTF-16 and is not at byte 2"),
        ("a\nKäse".encode("cp1252"), "not UTF-8 at byte 3, in line 2; save it as UTF-8"),
        (b"a\nbc\0d", r"null character U\+0000 in line 2, column 3"),
    ],
)
def test_another_encoding_is_named(content: bytes, words: str) -> None:
    with pytest.raises(UncleanText, match=words):
        decoded(content)
