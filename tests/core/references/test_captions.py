"""From what an owner wrote of an image to the lines that it is trained under."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.references.captions import MOST_LINES, PLACEHOLDER, CaptionLines, caption_of, captioned, filled, taken
from core.references.items import ImageItem, References
from tests.core.parameters.test_resolving import EMOJI

RECORD = EMOJI.model_copy(update={"caption_prefix": "emoji of "})
THREE = "a red cat\na cat on a mat\ncat"


def trained(caption: str | None, trigger: str | None = "sks", **how: object) -> str | None:
    read = References("images", (ImageItem("1.png", caption, b"", 8, 8, ""),))
    (item,) = captioned(read, RECORD, trigger, **how).items
    assert isinstance(item, ImageItem)
    return item.caption


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        ("draw", ["a red cat", "a cat on a mat", "cat"]),
        ("first", ["a red cat"]),
        ("join", ["a red cat a cat on a mat cat"]),
    ],
)
def test_of_several_lines_all_the_first_or_one_made_of_all_is_taken(how: CaptionLines, lines: list[str]) -> None:
    assert taken(THREE, how, None) == lines
    assert taken("cat", how, None) == ["cat"]
    assert taken("", how, None) == []


def test_more_lines_than_one_is_drawn_of_are_a_list() -> None:
    tags = [f"tag {number}" for number in range(MOST_LINES + 1)]
    assert taken("\n".join(tags[:-1]), "draw", None) == tags[:-1]
    assert taken("\n".join(tags), "draw", None) == [" ".join(tags)]
    assert taken("\n".join(tags), "first", None) == ["tag 0"]


def test_every_line_gets_prefix_and_trigger_of_its_own() -> None:
    assert trained("a red cat\nsks cat\nemoji of cat") == "emoji of a red cat, sks\nemoji of sks cat\nemoji of cat, sks"
    assert trained("a red cat\ncat", add_trigger=False) == "emoji of a red cat\nemoji of cat"
    assert trained("a red cat\ncat", lines="join") == "emoji of a red cat cat, sks"
    assert trained("a red cat\ncat", lines="first") == "emoji of a red cat, sks"
    assert trained(None) == "emoji of sks"


@pytest.mark.parametrize(
    ("words", "with_word", "without"),
    [
        ("a drawing of [trigger] on paper", "a drawing of sks on paper", "a drawing of on paper"),
        ("[trigger], a cat", "sks, a cat", "a cat"),
        ("a cat, [Trigger]", "a cat, sks", "a cat"),
        ("[name] as a child", "sks as a child", "as a child"),
        ("{trigger} and <trigger>", "sks and sks", "and"),
        ("{{trigger}} cat", "sks cat", "cat"),
        ("[trigger_word] cat, [trigger word]", "sks cat, sks", "cat"),
        ("[trigger]'s hat", "sks's hat", "'s hat"),
        ("[trigger]", "sks", ""),
        ("a trigger, a name and [nothing] (trigger)", None, None),
        ("{name} <name> [triggers] [red]", None, None),
    ],
)
def test_a_placeholder_becomes_the_trigger_or_goes(words: str, with_word: str | None, without: str | None) -> None:
    assert filled(words, "sks") == (words if with_word is None else with_word)
    assert filled(words, None) == (words if without is None else without)
    assert (PLACEHOLDER.search(words) is None) == (with_word is None)


def test_a_caption_with_a_placeholder_gets_no_second_trigger() -> None:
    assert trained("a [trigger] cat\nred cat") == "emoji of a sks cat\nemoji of red cat, sks"
    assert caption_of("[trigger]man", "", "sks") == "sksman"  # written against the word, and all the same meant there
    assert trained("a [trigger] cat", add_trigger=False) == "emoji of a sks cat"


def test_without_a_trigger_a_line_of_nothing_but_its_placeholder_is_no_line() -> None:
    assert trained("[trigger]\na cat", trigger=None) == "emoji of a cat"
    assert trained("[trigger]", trigger=None) == "emoji of "
    assert trained("[trigger]\na cat") == "emoji of sks\nemoji of a cat, sks"


@given(st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))), max_size=20), st.booleans())
def test_no_placeholder_is_left_and_no_line_is_empty(lines: list[str], word: bool) -> None:
    lines = [line if number % 3 else f"{line}[trigger]" for number, line in enumerate(lines)]
    caption = trained("\n".join(lines), "sks" if word else None)
    assert caption is not None
    assert not PLACEHOLDER.search(caption)
    assert caption.count("\n") < MOST_LINES
    assert "\n" not in caption or all(line.removeprefix("emoji of ").strip() for line in caption.split("\n"))
