"""Prompts as people have them: every usual shape is read, and what can't be asked is named by its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.recording.prompts import Prompt, Prompts, prompt_key, read_prompts

USER = {"role": "user", "content": "Where is west?"}
SYSTEM = {"role": "system", "content": "You are terse."}
ANSWER = {"role": "assistant", "content": "Arr."}


def read(folder: Path, content: str | bytes, name: str = "prompts.jsonl", **options: Any) -> Prompts:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_prompts(file, **options)


def one(folder: Path, row: object) -> Prompt:
    (prompt,) = read(folder, json.dumps(row)).items
    return prompt


def refusal(folder: Path, content: str | bytes, name: str = "prompts.jsonl", **options: Any) -> str:
    with pytest.raises(InvalidInput) as raised:
        read(folder, content, name, **options)
    return raised.value.message


def test_the_last_answer_of_a_chat_is_left_out_and_earlier_turns_stay(tmp_path: Path) -> None:
    more = {"role": "user", "content": "And east?"}
    assert one(tmp_path, {"messages": [SYSTEM, USER, ANSWER, more, ANSWER]}).messages == (SYSTEM, USER, ANSWER, more)


def test_a_chat_without_an_answer_is_asked_as_it_is(tmp_path: Path) -> None:
    assert one(tmp_path, {"messages": [SYSTEM, USER]}).messages == (SYSTEM, USER)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Where is west?", "completion": "Arr."},
        {"prompt": "Where is west?"},
        {"prompt": [USER]},
        {"custom_id": "1", "method": "POST", "body": {"model": "gpt-4o", "messages": [USER]}},
        {"messages": [USER, ANSWER], "recorded": {"prompt": "x", "sample": 0}},
    ],
)
def test_other_shapes_of_a_question_are_the_same_question(tmp_path: Path, row: object) -> None:
    assert one(tmp_path, row).messages == (USER,)


def test_weights_are_for_training_only_and_are_not_sent(tmp_path: Path) -> None:
    asked = one(tmp_path, {"messages": [USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}]})
    assert asked.messages == (USER, ANSWER, USER)


def test_tools_are_sent_along_with_their_calls(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
    result = {"role": "tool", "tool_call_id": "1", "content": "rain"}
    asked = one(tmp_path, {"messages": [USER, call, result, ANSWER], "tools": tools, "parallel_tool_calls": False})
    assert asked.settings == {"tools": tools, "parallel_tool_calls": False}
    assert [message["role"] for message in asked.messages] == ["user", "assistant", "tool"]


def test_plain_text_is_a_prompt_a_line(tmp_path: Path) -> None:
    found = read(tmp_path, "\ufeffWhere is west?\r\n\r\nWho sails?\r\n", "prompts.txt")
    assert [prompt.messages[0]["content"] for prompt in found.items] == ["Where is west?", "Who sails?"]
    assert [prompt.place for prompt in found.items] == ["line 1", "line 3"]


def test_a_csv_is_read_by_its_column_with_quotes_and_line_ends_inside(tmp_path: Path) -> None:
    found = read(tmp_path, 'id,text\n1,"Where,\nis west?"\n2,Who sails?\n', "p.csv", column="text")
    assert [prompt.messages[0]["content"] for prompt in found.items] == ["Where,\nis west?", "Who sails?"]


@pytest.mark.parametrize("content", ["id;prompt\n1;Who?\n", "id\tprompt\n1\tWho?\n", "question\nWho?\n"])
def test_the_column_and_the_sign_between_columns_are_guessed_where_they_are_plain(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content, "p.csv").items[0].messages[0]["content"] == "Who?"


def test_a_csv_whose_column_is_not_plain_is_refused_with_its_columns(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a,b\n1,2\n", "p.csv") == (
        "Which column of p.csv holds the prompts? It has a, b; name one with --column."
    )
    assert "has no column c. It has a, b" in refusal(tmp_path, "a,b\n1,2\n", "p.csv", column="c")


def test_a_json_array_and_utf_16_are_read(tmp_path: Path) -> None:
    assert len(read(tmp_path, json.dumps([{"prompt": "a"}, {"messages": [USER]}])).items) == 2
    assert read(tmp_path, "Grüße?\n".encode("utf-16"), "p.txt").items[0].messages[0]["content"] == "Grüße?"


def test_every_line_that_can_not_be_asked_is_named_at_once(tmp_path: Path) -> None:
    rows = ['{"prompt": "a"}', "{broken", '{"text": "just prose"}', "[1]", '{"prompt": "\\ud800"}', '{"messages": [1]}']
    told = refusal(tmp_path, "\n".join(rows))
    assert told.startswith("prompts.jsonl can't be asked as it is. line 2: it is not JSON")
    for line in ("line 3:", "line 4:", "line 5: it holds half a character", "line 6: a message has no role"):
        assert line in told


def test_blank_prompts_and_copies_are_passed_over_with_a_note(tmp_path: Path) -> None:
    rows = [{"prompt": "a"}, {"prompt": "  "}, {"messages": []}, {"messages": [SYSTEM]}, {"prompt": "a"}]
    found = read(tmp_path, "\n".join(map(json.dumps, rows)))
    assert len(found.items) == 1
    assert found.notes[0] == "Line 2, line 3, line 4 of prompts.jsonl asked nothing and were passed over."
    assert found.notes[1].startswith("1 of 2 prompts are copies")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "p.txt is empty."),
        (b"\xff\x00\xfa", "p.txt is not UTF-8 at byte 0; save it as UTF-8."),
        ('{"prompt": ""}', "p.txt holds no prompts."),
    ],
)
def test_a_file_without_prompts_is_a_sentence(tmp_path: Path, content: str | bytes, told: str) -> None:
    assert refusal(tmp_path, content, "p.txt") == told


def test_a_folder_and_a_missing_file_are_a_sentence(tmp_path: Path) -> None:
    for path, told in ((tmp_path, "is a folder"), (tmp_path / "none", "is not there")):
        with pytest.raises(InvalidInput, match=told):
            read_prompts(path)


def test_a_system_message_takes_the_place_of_their_own_and_says_so(tmp_path: Path) -> None:
    rows = [{"messages": [SYSTEM, USER]}, {"prompt": "Who?"}]
    found = read(tmp_path, "\n".join(map(json.dumps, rows)), system="Be kind.")
    assert [prompt.messages[0]["content"] for prompt in found.items] == ["Be kind.", "Be kind."]
    assert [len(prompt.messages) for prompt in found.items] == [2, 2]
    assert found.notes == ("--system takes the place of 1 system messages of prompts.jsonl.",)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.integers(0, 1))
def test_a_question_has_one_key_whatever_its_weights_and_another_for_other_words(said: list[str], weight: int) -> None:
    plain = [{"role": "user", "content": text} for text in said]
    weighted = [{**message, "weight": weight} for message in plain]
    assert prompt_key(plain, {}) == prompt_key(weighted, {})
    assert prompt_key(plain, {}) != prompt_key([*plain, USER], {})
    assert prompt_key(plain, {}) != prompt_key(plain, {"tools": [1]})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("question\nHello, how are you?\n", "row 1: it has more cells than the head"),
        ('question,id\n"What is 2?,1\nWho?,2\n', "is not CSV in line"),
    ],
)
def test_a_csv_that_would_lose_words_is_refused(tmp_path: Path, content: str, told: str) -> None:
    assert told in refusal(tmp_path, content, "p.csv")


def test_a_head_in_quotes_hides_no_other_sign(tmp_path: Path) -> None:
    found = read(tmp_path, '"question, text";id\n"a, b";1\n', "p.csv", column="question, text")
    assert found.items[0].messages[0]["content"] == "a, b"


def test_an_array_of_texts_is_a_prompt_each_also_over_several_lines(tmp_path: Path) -> None:
    for content in ('["q1", "q2"]', '[\n  "q1",\n  "q2"\n]'):
        assert [prompt.messages[0]["content"] for prompt in read(tmp_path, content).items] == ["q1", "q2"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a\0b\n", "holds NUL characters; is it UTF-16?"),
        ('{"prompt": "a", "tools": NaN}', "numbers or depths that can't be read"),
        ('{"prompt": "a", "x": ' + "9" * 5_000 + "}", "numbers or depths that can't be read"),
    ],
)
def test_what_could_never_be_sent_is_told_before_anything_is_asked(tmp_path: Path, content: str, told: str) -> None:
    assert told in refusal(tmp_path, content)
