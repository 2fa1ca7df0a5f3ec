"""Recorded answers: what a line holds, what is left out of training, and that an upload always takes the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.recording.answer_file import AnswerFile
from core.recording.answers import REASONS, Answer, is_held_out, refuses, rows_of
from core.recording.prompts import Prompt
from core.references import items
from core.references.files.texts import LEFT_OUT
from core.settings import Settings
from core.uploads import reading

MODEL = "ft:old"


def prompt(text: str = "Where is west?", **settings: Any) -> Prompt:
    return Prompt(({"role": "user", "content": text},), "line 1", settings)


def answer(
    said: str | None = "Arr, ahead.",
    asked: Prompt | None = None,
    finish: str = "stop",
    sample: int = 0,
    reasoning: str | None = None,
    **more: Any,
) -> Answer:
    return Answer(
        prompt=asked or prompt(),
        sample=sample,
        message={"role": "assistant", "content": said, **more},
        finish_reason=finish,
        model=MODEL,
        answered_by="ft:old-1",
        tokens_in=4,
        tokens_out=7,
        at="2026-12-01T00:00:00Z",
        seconds=0.5,
        settings={"temperature": 0.2},
        reasoning=reasoning,
    )


def write(file: Path, *answers: Answer, share: float = 0.0) -> list[str | None]:
    """Write answers; returns their marks."""
    with AnswerFile(file, MODEL) as opened:
        for each in answers:
            opened.add(each, share)
        return [opened.recorded.done[each.prompt.key, each.sample] for each in answers]


def uploaded(file: Path) -> items.References:
    return reading.read(file, file.name, Settings())


def test_a_line_keeps_question_answer_and_how_it_came_about(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", answer())
    (row,) = rows_of(tmp_path / "a.jsonl")
    assert [message["content"] for message in row["messages"]] == ["Where is west?", "Arr, ahead."]
    recorded = row["recorded"]
    assert recorded["model"] == MODEL
    assert recorded["usage"] == {"prompt_tokens": 4, "completion_tokens": 7}
    assert (recorded["finish_reason"], recorded["at"], recorded["temperature"]) == ("stop", "2026-12-01T00:00:00Z", 0.2)
    assert recorded["left_out"] is None


@pytest.mark.parametrize(
    ("given", "mark"),
    [
        (answer(finish="length"), "cut"),
        (answer(finish="content_filter"), "filtered"),
        (answer(None, refusal="I won't."), "refusal"),
        (answer("I'm sorry, but I can't assist with that request."), "refusal"),
        (answer("  "), "empty"),
        (
            answer(None, tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
            None,
        ),
        (
            answer(None, tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}]),
            "not_learned",
        ),
        (answer(asked=prompt(tools=[{"type": "function", "function": {"name": "f"}}])), None),
        (answer(asked=prompt(tools=[{"type": "web_search"}])), "not_learned"),
        (answer("a NUL \0 in it"), "not_learned"),
        (answer("half a \ud800 letter"), "not_learned"),
        (answer("x" * 100_000), "not_learned"),
        (answer("x" * 300_000), "not_learned"),
        (answer("one line that \u202e turns"), None),  # an upload cleans it
        (answer("short", reasoning="why " * 60_000), "not_learned"),
        (answer("\u6d77" * 40_000, reasoning="a DEL \x7f in it"), None),
    ],
)
def test_what_can_not_or_should_not_be_learned_is_marked_and_an_upload_leaves_it_out(
    tmp_path: Path, given: Answer, mark: str | None
) -> None:
    file = tmp_path / "a.jsonl"
    learned = mark is None
    good = [answer(f"Arr, {n} knots.", prompt(f"How fast is ship {n}?")) for n in range(3)]
    assert write(file, *good[:2], given, good[2]) == [None, None, mark, None]
    read = uploaded(file)
    assert len(read.items) == 3 + learned
    assert learned or f"1 recorded answer is left out of training: 1 as {mark}." in [f.message for f in read.findings]


def test_held_out_answers_are_left_out_of_training_and_only_good_ones_are_held_out(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer(asked=prompt("a?")), answer(asked=prompt("b?"), finish="length"), share=1.0)
    write(file, answer(asked=prompt("c?")))
    assert [row["recorded"]["left_out"] for row in rows_of(file)] == ["held_out", "cut", None]
    assert len(uploaded(file).items) == 1


def test_a_mark_that_is_taken_away_lets_the_answer_be_trained_on(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer(), answer("I can't help with that.", prompt("b?")))
    file.write_text(file.read_text().replace('"left_out": "refusal"', '"left_out": null'))
    assert len(uploaded(file).items) == 2


def test_a_file_with_nothing_to_train_on_says_why(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", answer(finish="length"))
    with pytest.raises(InvalidInput, match="holds no references: 1 recorded answer is left out of training: 1 as cut"):
        uploaded(tmp_path / "a.jsonl")


def test_of_an_answer_that_was_asked_for_again_the_last_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer("Arr, the", finish="length"), answer("Arr, the sea."))
    (row,) = rows_of(file)
    assert row["messages"][-1]["content"] == "Arr, the sea."


def test_lines_that_were_never_recorded_are_read_to_compare_with(tmp_path: Path) -> None:
    line: Mapping[str, object] = {"messages": [{"role": "user", "content": "a"}]}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(line)}\n\n{json.dumps(line)}\n")
    assert len(list(rows_of(tmp_path / "a.jsonl"))) == 2
    (tmp_path / "b.jsonl").write_text("{}\nprose\n")
    with pytest.raises(InvalidInput, match=r"Line 2 of b\.jsonl"):
        list(rows_of(tmp_path / "b.jsonl"))


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ("I'm sorry, but I can't assist with that.", True),
        ("Sorry, I cannot help with that request.", True),
        ("I\u2019m unable to comply with that.", True),
        ("I can't help but smile at this question.", False),
        ("I'm sorry to hear that. Your parcel is on its way.", False),
        ("I can't help with refunds myself, " + "but here is how you ask for one: " * 6, False),
        ("Arr.", False),
    ],
)
def test_a_refusal_is_told_by_its_usual_words_alone(said: str, refusal: bool) -> None:
    assert refuses(said) is refusal


def test_the_share_that_is_held_out_is_as_asked_and_the_same_in_every_run() -> None:
    keys = [prompt(f"question {n}").key for n in range(2_000)]
    assert not any(is_held_out(key, 0) for key in keys)
    held = {key for key in keys if is_held_out(key, 0.2)}
    assert 0.17 < len(held) / len(keys) < 0.23
    assert held < {key for key in keys if is_held_out(key, 0.5)}


def test_what_was_sent_along_and_does_not_change_training_is_learned_from(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    asked = [prompt(f"{n}?", response_format={"type": "json_object"}) for n in range(2)]
    assert write(file, *(answer('{"a": 1}', each) for each in asked)) == [None, None]
    assert len(uploaded(file).items) == 2
    assert next(rows_of(file))["recorded"]["sent"] == {"response_format": {"type": "json_object"}}


@pytest.mark.slow
@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["refusal", "tool_calls"]), st.text()))
def test_an_upload_takes_the_file_whatever_prompts_and_answers_hold(
    tmp_path_factory: pytest.TempPathFactory, asked: str, said: str, more: dict[str, str]
) -> None:
    file = tmp_path_factory.mktemp("any") / "a.jsonl"
    write(file, answer(), answer(said, prompt(f"b {asked}"), **more))
    assert 1 <= len(uploaded(file).items) <= 2


@pytest.mark.parametrize("mark", [True, 1, "", "held-out", ["held_out"], "x" * 41])
def test_a_mark_that_is_none_is_refused_and_never_guessed(tmp_path: Path, mark: object) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer())
    row = json.loads(file.read_text())
    row["recorded"]["left_out"] = mark
    file.write_text(json.dumps(row))
    with pytest.raises(
        InvalidInput, match=r"Line 1 of a\.jsonl can't be used: left_out of its recorded is none of null"
    ):
        uploaded(file)


def test_every_mark_that_is_written_is_one_that_an_upload_knows() -> None:
    assert tuple(REASONS) == LEFT_OUT
