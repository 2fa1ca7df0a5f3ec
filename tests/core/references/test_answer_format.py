"""The shape that answers share, and which answers have it."""

import json

import pytest

from core.references.answer_format import Shape, read_shape
from core.references.items import TextItem


def shape_of(*answers: str) -> Shape | None:
    return read_shape([TextItem(prompt="?", completion=answer) for answer in answers])


def test_json_needs_the_keys_that_most_answers_have() -> None:
    found = shape_of(*(json.dumps({"title": "a", "steps": [number], f"x{number}": 1}) for number in range(5)))
    assert found is not None
    assert "JSON with steps, title" in found.sentence
    assert found.fits('{"steps": [], "title": "b", "more": 1}')
    assert found.fits('```json\n{"steps": [], "title": "b"}\n```')
    for broken in ('{"title": "b"}', '{"steps": [], "title": "b"', "[1]", "a title and steps"):
        assert not found.fits(broken)


def test_labelled_lines_need_every_label() -> None:
    found = shape_of("Summary: a\nSteps: b", "Summary: c\nSteps: d", "Steps: e\nSummary: f")
    assert found is not None
    assert found.fits("**Summary:** x\n- Steps: y")
    assert not found.fits("Summary: x")


def test_a_list_needs_as_many_points_and_lines_in_their_order() -> None:
    found = shape_of(*(f"1. {word}\n2. {word}\n3. {word}\nThat is all." for word in ("a", "b", "c")))
    assert found is not None
    assert "3 points in 4 lines" in found.sentence
    assert found.fits("1. x\n\n2. y\n3. z\nDone.")
    for broken in ("1. x\n2. y\nDone.", "1. x\n2. y\n3. z", "Done.\n1. x\n2. y\n3. z", "- x\n- y\n- z\nDone."):
        assert not found.fits(broken)


@pytest.mark.parametrize(
    "answers", [("Arr, matey.", "Aye, the tide."), ("- only one point", "- only one point more"), ("a",)]
)
def test_plain_answers_have_no_shape(answers: tuple[str, ...]) -> None:
    assert shape_of(*answers) is None


def test_a_shape_that_is_only_asked_for_judges_nothing() -> None:
    asked = {"role": "system", "content": "Answer in YAML."}
    items = [
        TextItem(messages=(asked, {"role": "user", "content": "?"}, {"role": "assistant", "content": word}))
        for word in ("a", "b")
    ]
    found = read_shape(items)
    assert found is not None
    assert "YAML" in found.sentence
    assert found.fits is None


def test_an_answer_that_is_not_learned_has_no_say_in_the_shape() -> None:
    def chat(learned: str, read: str) -> TextItem:
        asked = {"role": "user", "content": "?"}
        said = {"role": "assistant", "content": learned}
        return TextItem(messages=(asked, said, asked, {"role": "assistant", "content": read, "weight": 0}))

    found = read_shape([chat('{"a": 1}', "Yes."), chat('{"a": 2}', "No.")])
    assert found is not None
    assert found.sentence == "2 of 2 answers are JSON with a."
    assert read_shape([chat("Yes.", '{"a": 1}'), chat("No.", '{"a": 2}')]) is None


def test_answers_that_call_functions_share_that() -> None:
    def calling(*names: str) -> TextItem:
        calls = [{"type": "function", "id": "1", "function": {"name": name, "arguments": {"a": 1}}} for name in names]
        return TextItem(({"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": calls}))

    found = read_shape([calling("weather"), calling("sun", "weather"), calling("weather")])
    assert found is not None
    assert found.sentence == "3 of 3 answers call functions: sun, weather."
    assert found.fits is not None
    assert found.fits('<tool_call>\n{"name": "sun", "arguments": {}}\n</tool_call>')
    assert not found.fits('{"name": "moon", "arguments": {}}')
    said = TextItem(({"role": "user", "content": "?"}, {"role": "assistant", "content": "The weather is dry."}))
    assert read_shape([calling("weather"), said, said]) is None
    many = read_shape([calling("a", "b", "c", "d", "e"), calling("a")])
    assert many is not None
    assert many.sentence == "2 of 2 answers call functions: a, b, c and 2 more."
