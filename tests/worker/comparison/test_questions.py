"""Which questions are compared, and what is known to have been trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.settings import Settings
from worker.comparison.questions import TRAINED_ITEMS, Group, Questions, chosen, read_questions


def line(asked: str, said: str, mark: str | None = None, recorded: bool = True) -> str:
    row: dict[str, object] = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
    return json.dumps(
        row | ({"recorded": {"prompt": asked, "sample": int(said), "left_out": mark}} if recorded else {})
    )


def read(tmp_path: Path, *lines: str, trained: Path | None = None) -> Questions:
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(lines))
    return read_questions(file, trained, tmp_path / "adapter/peft", Settings())


def groups(found: Questions) -> dict[str, Group]:
    return {question.asked[-1][1]: question.group for question in found.items}


def test_the_marks_of_the_file_tell_what_was_trained_on(tmp_path: Path) -> None:
    found = read(tmp_path, line("a", "1"), line("b", "2", "held_out"), line("c", "3", "cut"), line("d", "4", "refusal"))
    assert groups(found) == {"a": Group.TRAINED, "b": Group.HELD_OUT}
    assert found.passed_over == {"cut": 1, "refusal": 1}
    assert found.known_from == "known from the marks of the file"


def test_questions_with_tools_are_passed_over(tmp_path: Path) -> None:
    row = json.loads(line("a", "1")) | {"tools": [{"type": "function", "function": {"name": "weather"}}]}
    calls = json.loads(line("b", "2"))
    calls["messages"][-1] |= {"content": None, "tool_calls": [{"function": {"name": "weather", "arguments": "{}"}}]}
    found = read(tmp_path, json.dumps(row), json.dumps(calls), line("c", "3"))
    assert groups(found) == {"c": Group.UNKNOWN}
    assert found.passed_over == {"questions with tools": 2}


def test_several_answers_are_one_question(tmp_path: Path) -> None:
    (question,) = read(tmp_path, line("a", "1"), line("a", "2")).items
    assert question.answers == ["1", "2"]


def test_a_file_that_was_trained_on_tells_it_against_the_marks(tmp_path: Path) -> None:
    trained = tmp_path / "trained.jsonl"
    trained.write_text(line("b", "2", recorded=False))
    found = read(tmp_path, line("a", "1"), line("b", "2", "held_out"), trained=trained)
    assert groups(found) == {"a": Group.HELD_OUT, "b": Group.TRAINED}


def test_the_folder_of_a_training_tells_it_by_itself(tmp_path: Path) -> None:
    items = tmp_path / "adapter" / TRAINED_ITEMS
    items.parent.mkdir(parents=True)
    items.write_text(line("a", "1", recorded=False))
    found = read(tmp_path, line("a", "1"), line("b", "2"))
    assert groups(found) == {"a": Group.TRAINED, "b": Group.HELD_OUT}
    assert "items.jsonl" in found.known_from


def test_where_nothing_tells_it_nobody_claims_it(tmp_path: Path) -> None:
    found = read(tmp_path, line("a", "1", recorded=False))
    assert set(groups(found).values()) == {Group.UNKNOWN}
    assert found.known_from == "not known"


def test_prompts_with_completions_are_compared_and_prose_is_not(tmp_path: Path) -> None:
    found = read(tmp_path, '{"prompt": "a", "completion": "b"}', '{"text": "prose"}', '{"messages": []}')
    assert [(question.asked, question.answers) for question in found.items] == [((("user", "a"),), ["b"])]
    assert found.passed_over.total() == 2


def test_a_file_without_answers_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"answers\.jsonl holds no answer to compare with"):
        read(tmp_path, line("a", "1", "cut"))


def test_a_few_of_each_group_are_drawn_always_the_same(tmp_path: Path) -> None:
    rows = [line(f"q{n}", "1", "held_out" if n % 3 else None) for n in range(30)]
    found = read(tmp_path, *rows)
    few = chosen(found.items, 4)
    assert [question.group for question in few] == [Group.HELD_OUT] * 4 + [Group.TRAINED] * 4
    assert few == chosen(read(tmp_path, *reversed(rows)).items, 4)
    assert len(chosen(found.items, 0)) == 30


def test_only_the_recorded_answer_is_judged_and_not_earlier_turns(tmp_path: Path) -> None:
    row = {"messages": [{"role": r, "content": r} for r in ("system", "user", "assistant", "user", "assistant")]}
    (question,) = read(tmp_path, json.dumps(row)).items
    assert [message.get("weight", 1) for message in question.messages("new")] == [1, 1, 0, 1, 1]
    assert question.messages("new")[-1]["content"] == "new"


def test_a_question_of_which_one_answer_was_trained_on_is_trained_on(tmp_path: Path) -> None:
    found = read(tmp_path, line("a", "1", "held_out"), line("a", "2"), line("b", "3", "held_out"))
    assert groups(found) == {"a": Group.TRAINED, "b": Group.HELD_OUT}


def test_what_is_said_to_be_trained_on_and_holds_no_chat_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "prose.jsonl").write_text('{"text": "prose"}')
    with pytest.raises(InvalidInput, match="holds no question with an answer"):
        read(tmp_path, line("a", "1"), trained=tmp_path / "prose.jsonl")
