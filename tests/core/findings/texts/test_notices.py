"""What is said of texts that were read in another way than they stand, and that nothing is said of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import InvalidInput, TooLarge
from core.findings.finding import Finding
from core.settings import Settings
from core.uploads import reading

USER, SAID = {"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "No."}
Told = Callable[..., dict[str, Finding]]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    def read(content: str | bytes, name: str = "upload") -> dict[str, Finding]:
        (tmp_path / "upload").write_bytes(content if isinstance(content, bytes) else content.encode())
        found = reading.read(tmp_path / "upload", name, Settings(data=tmp_path)).findings
        return {finding.code: finding for finding in found if finding.code != "few_items"}

    return read


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


SAYS: dict[str, tuple[str | bytes, str, str]] = {
    "cleaned": (
        lines({"text": "a"}, {"text": "b\r\n\x1b[0mc"}, {"text": "d\x1b[0m"}),
        "cleaned_text",
        "1 line end of another system (line 2 first); 2 escape sequences of a terminal (line 2 first).",
    ),
    "cleaned paragraphs": ("One.\n\nTwo\x07.", "cleaned_text", "1 control character (line 3 first)."),
    "an array": (json.dumps([{"text": "a"}]), "read_as", "was understood: a JSON array."),
    "UTF-16": ("a text".encode("utf-16"), "read_as", "was understood: text in UTF-16."),
    "a table": ("prompt,completion\na,b", "read_as", "a table (CSV) with the columns prompt, completion."),
    "comments": ("# mine\n" + lines({"text": "a"}), "lines_passed_over", "passed over: comments (line 1 first)."),
    "other shapes": (
        lines({"text": "c"}, {"question": "a", "answer": "b"}),
        "rows_read_as",
        "were understood: pairs of question and answer in 1 row (line 2 first).",
    ),
    "a template": ("[INST] a [/INST] b", "looks_like", "upload looks like chats in the marks of a template, and is"),
    "harmless keys": (
        lines({"text": "a", "id": 1}, {"text": "b", "id": 2, "source": "c"}),
        "keys_ignored",
        "were passed over: id in 2 rows (line 1 first); source in 1 row (line 2 first).",
    ),
    "masks": (
        lines({"messages": [USER, SAID | {"train": False}, USER, SAID]}),
        "masks_honoured",
        "1 (learned) or 0 (not learned): train in 1 row (line 1 first).",
    ),
    "an empty system": (
        lines({"messages": [{"role": "system", "content": ""}, USER, SAID]}),
        "empty_system",
        "that say nothing were passed over: 1 row (line 1 first).",
    ),
    "weights of rows": (
        lines({"text": "a"}, {"text": "b", "weight": 0}, {"prompt": "c", "completion": "d", "train": False}),
        "rows_left_out",
        "2 rows are left out of training, as the row's own weight or mark says: line 2 (weight), line 3 (train).",
    ),
    "copies": (
        lines({"text": "a"}, {"text": "b"}, {"text": "a"}),
        "duplicate_item",
        "1 exact copy was left out: line 3 (as line 1). Each reference counts once.",
    ),
    "copies in one line": (
        json.dumps([{"text": "a"}, {"text": "b"}, {"text": "a"}]),
        "duplicate_item",
        "1 exact copy was left out: line 1, row 3 (as line 1).",
    ),
    "copies of paragraphs": ("a\n\nb\n\na", "duplicate_item", "paragraph 3 (as paragraph 1)."),
}


@pytest.mark.parametrize("what", SAYS)
def test_it_is_said_what_was_done_and_where(told: Told, what: str) -> None:
    content, code, words = SAYS[what]
    found = told(content)
    assert words in found[code].message
    assert found[code].fix.endswith(".")


@pytest.mark.parametrize(
    "content",
    [
        lines({"messages": [USER, SAID | {"weight": 0}, USER, SAID]}, {"messages": [USER, SAID, USER, SAID]}),
        lines({"text": "a"}, {"prompt": "b", "completion": "c"}, {"prompt": "b\nc", "completion": "d"}),
        lines({"prompt": "a", "completion": "b\nc"}, {"prompt": "a\nb", "completion": "c"}),
        "One.\r\n\r\nTwo, and three.",
    ],
)
def test_what_is_learned_as_it_stands_has_none_of_these_findings(told: Told, content: str) -> None:
    assert set(told(content)) <= {"duplicate_text", "conflicting_examples"}


def test_the_same_words_under_another_mask_are_no_copy(told: Told) -> None:
    assert (
        told(lines({"messages": [USER, SAID | {"weight": 0}, USER, SAID]}, {"messages": [USER, SAID, USER, SAID]}))
        == {}
    )


def test_all_bad_lines_are_told_at_once_and_the_shapes_once(told: Told) -> None:
    with pytest.raises(InvalidInput) as refusal:
        told(lines({"text": "a"}, {"mood": "b"}, {"text": 7}, {"prompt": "c", "completion": "d", "chosen": "e"}) + "{")
    first, *faults, last = refusal.value.message.split("\n")
    assert first == "There are 4 faults:"
    assert [fault.split(" of ")[0] for fault in faults] == ["- Line 2", "- Line 3", "- Line 4", "- Line 5"]
    assert last.startswith("Each line is {")
    assert refusal.value.message.count("Each line is") == 1


def test_of_many_bad_lines_fifty_are_told(told: Told) -> None:
    with pytest.raises(InvalidInput) as refusal:
        told(lines(*[{"text": number} for number in range(99)]))
    assert refusal.value.message.count("\n- Line") == 50
    assert refusal.value.message.endswith("- And 49 more.")


def test_lines_that_are_all_too_long_are_too_large(told: Told) -> None:
    with pytest.raises(TooLarge, match=r"Line 1 .*\n.*Line 2 "):
        told(lines({"text": "a" * 95_000}, {"text": "b" * 95_000}))


def test_a_file_whose_rows_are_all_left_out_says_why(told: Told) -> None:
    with pytest.raises(InvalidInput, match="holds no references: 1 row is left out of training"):
        told(lines({"text": "a", "weight": 0}))


def test_an_array_of_nothing_holds_no_references(told: Told) -> None:
    with pytest.raises(InvalidInput, match="holds no references: no image and no text"):
        told("[]")


def test_a_broken_file_of_json_is_no_prose(told: Told) -> None:
    with pytest.raises(InvalidInput, match="There are 2 faults"):
        told("messages: a\nmessages: b\n", "rows.jsonl")


def test_where_something_can_not_be_stored_is_told_by_line_and_column(told: Told) -> None:
    with pytest.raises(
        InvalidInput, match=r"Line 2 of upload can't be used: .* column 12 is the lone surrogate U\+D83D"
    ):
        told(lines({"text": "a"}) + '{"text": "b\\ud83d"}\n')
    with pytest.raises(InvalidInput, match="null character U\\+0000 in line 2, column 2"):
        told(b"a" * 5_000 + b"\nb\0")
