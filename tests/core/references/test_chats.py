"""What is learned of a chat, and what is said of one that can't be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from core.references import items
from core.references.chats import learned, messages_of
from core.references.files import texts
from core.references.items import References
from core.references.packing import pack, read_packed
from core.references.rows.remarks import Remarks
from core.settings import Settings

ASK, ANSWER = {"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "No."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {}}]}
PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a tool without a name": ({"messages": [ASK, ANSWER], "tools": [{"type": "function"}]}, "tool 1 has no name of a"),
    "a call without a name": ({"messages": [ASK, CALL]}, r"call 1 of message 2 \(assistant\) has no name"),
    "a result of no call": ({"messages": [ASK, {"role": "tool", "content": "dry"}, ANSWER]}, "the result of no call"),
    "a picture": ({"messages": [PICTURE, ANSWER]}, "learned as text only"),
    "no parts": ({"messages": [ASK | {"content": []}, ANSWER]}, r"content of message 1 \(user\) is empty"),
    "a weight of a half": ({"messages": [ASK, ANSWER | {"weight": 0.5}]}, "weight other than 0"),
    "a weight that is a list": ({"messages": [ASK, ANSWER | {"weight": []}]}, "weight other than 0"),
    "nothing to learn": ({"messages": [ASK, ANSWER | {"weight": 0}]}, "nothing to learn"),
    "a key of its own": ({"messages": [ASK, ANSWER], "mood": "dry"}, 'the key "mood", which is not known here; leave'),
    "rows that are not for training": ({"messages": [ASK, ANSWER], "split": "test"}, "the validation_file"),
    "a preference pair": (
        {"input": {"messages": [ASK]}, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]},
        "a preference",
    ),
}


def read(*lines: dict[str, Any]) -> list[items.TextItem]:
    content = "".join(json.dumps(line) + "\n" for line in lines)
    return texts.read_jsonl(content.encode(), "chats.jsonl", Settings()).items


def test_settings_of_a_chat_that_mean_nothing_here_are_left_aside() -> None:
    named = ASK | {"name": "ann"}
    [item] = read({"messages": [named, ANSWER | {"refusal": None}], "parallel_tool_calls": True, "tools": []})
    assert item.messages == (ASK, ANSWER)


def test_a_developer_is_the_system_and_parts_of_a_text_are_one() -> None:
    parts = [{"type": "text", "text": text} for text in ("Will it", " ", "rain?")]
    given = [{"role": "developer", "content": "Be short."}, {"role": "user", "content": parts}, ANSWER]
    [item] = read({"messages": given})
    assert item.messages is not None
    assert [message["content"] for message in item.messages] == ["Be short.", "Will it rain?", "No."]
    assert item.messages[0]["role"] == "system"


def test_an_answer_of_weight_0_is_kept_but_not_learned(tmp_path: Path) -> None:
    chat = {"messages": [ASK, ANSWER | {"weight": 0}, ASK, ANSWER | {"weight": 1}]}
    [item] = read(chat)
    pack(References("texts", (item,)), tmp_path / "packed")
    [again] = read_packed(tmp_path / "packed", "packed", Settings()).items
    assert again == item
    assert item.messages is not None
    assert [learned(message) for message in item.messages] == [False, False, False, True]


@pytest.mark.parametrize("what", REFUSED)
def test_a_line_is_refused_with_what_to_do(what: str) -> None:
    line, words = REFUSED[what]
    with pytest.raises(InvalidInput, match=words) as refusal:
        read({"messages": [ASK, ANSWER]}, line)
    assert refusal.value.message.startswith("Line 2 of chats.jsonl can't be used: ")


def test_the_weight_1_of_a_question_is_passed_over_with_a_word_and_another_mark_of_it_is_refused() -> None:
    question, answer = {"role": "user", "content": "a", "weight": 1}, {"role": "assistant", "content": "b", "weight": 1}
    remarks = Remarks()
    assert messages_of([question, answer], remarks) == (
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    )
    assert any("weight" in key for key in remarks.ignored)
    with pytest.raises(ValueError, match=r"message 1 \(user\) is marked as learned"):
        messages_of([{"role": "user", "content": "a", "train": True}, answer], Remarks())
