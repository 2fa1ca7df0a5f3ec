"""Rows of JSON, however somebody has laid them out, and what is said of what is no JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.references.notices import Notices
from core.references.rows import json_rows
from core.references.rows.json_rows import column_of_unstorable, looks_like_json, rows

ROWS = [{"text": "a, {b}"}, {"text": '[c]\n"d"'}, {"prompt": "e", "completion": "f"}]
LINES = [json.dumps(row) for row in ROWS]
LAYOUTS = {
    "lines": ("\n".join(LINES), None),
    "blank lines between": ("\n\n\n".join(LINES) + "\n\n", None),
    "commas behind": (",\n".join(LINES) + ",\n", "rows with commas behind them"),
    "an array": (json.dumps(ROWS), "a JSON array"),
    "an array of several lines": (json.dumps(ROWS, indent=2), "a JSON array"),
    "an array with a comma too many": (f"[{','.join(LINES)},]", "a JSON array"),
    "under a key": (json.dumps({"data": ROWS}, indent=1), "a JSON array under the key data"),
    "rows over lines": ("\n".join(json.dumps(row, indent=4) for row in ROWS), "rows that go on over several lines"),
    "rows in one line": ("".join(LINES), "several rows in a line"),
    "rows in one line with blanks": (" ".join(LINES), "several rows in a line"),
    "a comment first": ("# mine\n" + "\n".join(LINES), "comments"),
    "slashes first": ("\n// exported\n" + "\n".join(LINES), "comments"),
    "comments between": ("\n# next\n".join(LINES), "comments"),
    "a heading": ("My rows\n\n" + "\n".join(LINES), "a heading"),
    "a fence": ("```json\n" + "\n".join(LINES) + "\n```\n", "fences of Markdown"),
    "strings": ("\n".join(map(json.dumps, LINES)), None),
    "an array of strings": (json.dumps(LINES), "a JSON array"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_the_same_in_every_layout_and_another_one_is_noticed(layout: str) -> None:
    text, noticed = LAYOUTS[layout]
    notices = Notices()
    assert looks_like_json(text)
    assert [row.value for row in rows(text, notices)] == ROWS
    assert [notice.detail for notice in notices] == ([noticed] if noticed else [])


@pytest.mark.slow
@given(st.lists(st.dictionaries(st.text(), st.text() | st.lists(st.text())), min_size=1), st.integers(0, 4))
def test_any_rows_are_the_same_in_every_layout(given: list[dict[str, object]], layout: int) -> None:
    lines = [json.dumps(row) for row in given]
    text = [
        "\n".join(lines),
        "[" + ",\n".join(lines) + "]",
        "\n".join(json.dumps(row, indent=1) for row in given),
        ",\n".join(lines),
        "".join(lines),
    ][layout]
    if layout != 1 or not ("role" in given[0] or {"from", "value"} <= set(given[0])):
        assert [row.value for row in rows(text, Notices())] == given


def test_lines_are_counted_in_every_layout() -> None:
    for text, _ in (LAYOUTS["an array of several lines"], LAYOUTS["rows over lines"], LAYOUTS["blank lines between"]):
        found = list(rows(text, Notices()))
        assert [text.split("\n")[row.line - 1].lstrip()[0] for row in found] == ["{"] * 3
    assert [row.line for row in rows(LAYOUTS["a heading"][0], Notices())] == [3, 4, 5]


def test_a_list_of_messages_is_a_row_and_no_array_of_rows() -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert [row.value for row in rows(json.dumps(chat), Notices())] == [chat]
    assert [row.value for row in rows(json.dumps([chat, chat]), Notices())] == [chat, chat]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"text": "a"}\n{"text": "b"\n{"text": "c"}', "not JSON .* at column 13"),
        ('{"text": "a"} b', "not JSON"),
        ("{'text': 'a'}", "single quotes; write it with json.dumps"),
        ('{"text": NaN}', "NaN is not a number"),
        ('{"text": "a", "text": "b"}', "a key is there twice"),
        ('{"text": ' + "[" * 100_000, "nested too deeply|not JSON"),
        ('[{"text": "a"}', "array .* is not closed"),
        ('{"data": [{"text": "a"}], "next": 1}', "beside its array"),
        ('{\n"text": "one\ntwo"}', "goes on in the next line"),
    ],
)
def test_what_is_no_json_is_named_by_its_line(text: str, words: str) -> None:
    faults = [row for row in rows(text, Notices()) if row.fault]
    assert len(faults) >= 1
    assert faults[0].line == (2 if text.startswith('{"text": "a"}\n') else 1)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(faults[0].fault)


@pytest.mark.parametrize(
    "text",
    [
        "[Music] la la",
        "Once {there} was",
        '"Ahoy," he said.\n{}',
        "a\n\n{b}",
        "#1 in\n{x}",
        "{{Infobox\n| a = b\n}}",
        "{% if a %}b{% endif %}",
        "{ x | x > 0 }",
        "{\n So it\n}",
    ],
)
def test_prose_is_no_json(text: str) -> None:
    assert not looks_like_json(text)


def test_a_row_that_is_torn_by_line_ends_is_one_fault() -> None:
    found = list(rows('{"text": "a\n\nb"}\n{"text": "c"}\n', Notices()))
    assert [(row.line, row.fault is None) for row in found] == [(1, False), (4, True)]


def test_what_is_nested_in_vain_is_not_searched_again_for_each_line() -> None:
    reader = json_rows._Reader('{"a":\n' * 9_999 + "!" + "}" * 9_999, Notices())
    assert sum(1 for row in reader.rows() if row.fault) == 10_000
    assert reader._searched <= json_rows.MAX_SEARCHED + json_rows.MAX_LINE_CHARACTERS


@pytest.mark.parametrize(
    ("raw", "column"),
    [(r'"a\u0000"', 3), (r'"\ud83d\ude00 \ud83d"', 15), (r'"\udc00"', 2), (r'"\\u0000"', None), (r'"\ud83d\u0041"', 2)],
)
def test_the_column_of_what_can_not_be_stored_is_found(raw: str, column: int | None) -> None:
    assert column_of_unstorable(raw) == column
