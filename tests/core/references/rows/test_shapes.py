"""What is learned of a row, and of which keys: each is used, known as harmless, or refused by its name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.references.items import TextItem
from core.references.rows import keys, shapes
from core.references.rows.remarks import Remarks
from core.references.rows.shapes import shaped

USER, SAID = {"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "No."}
CHAT = TextItem(messages=(USER, SAID))
PAIR = TextItem(prompt="Rain?", completion="No.")
ASKED, ANSWERED = {"from": "human", "value": "Rain?"}, {"from": "gpt", "value": "No."}
BRIEF = {"role": "system", "content": "Be brief."}
BRIEFED = TextItem(messages=(BRIEF, USER, SAID))
READ: dict[str, tuple[dict[str, Any], TextItem, str | None]] = {
    "messages": ({"messages": [USER, SAID]}, CHAT, None),
    "a pair": ({"prompt": "Rain?", "completion": "No."}, PAIR, None),
    "a text": ({"text": "No."}, TextItem(text="No."), None),
    "ShareGPT": ({"conversations": [ASKED, ANSWERED]}, CHAT, "chats under the key conversations"),
    "ShareGPT in messages": ({"messages": [ASKED, ANSWERED]}, CHAT, "ShareGPT (from and value)"),
    "other roles": (
        {"messages": [USER | {"role": "Human"}, SAID | {"role": "bot"}]},
        CHAT,
        "chats whose roles are called otherwise (human)",
    ),
    "a system beside a chat": ({"system": "Be brief.", "messages": [USER, SAID]}, BRIEFED, None),
    "a system beside a pair": (
        {"system": "Be brief.", "prompt": "Rain?", "completion": "No."},
        BRIEFED,
        "pairs with a system message beside them",
    ),
    "Alpaca": (
        {"instruction": "Rain?", "input": "In May", "output": "No."},
        TextItem(prompt="Rain?\nIn May", completion="No."),
        "pairs of instruction and input (on a new line) and output",
    ),
    "Alpaca without an input": (
        {"instruction": "Rain?", "input": "", "output": "No."},
        PAIR,
        "pairs of instruction and output",
    ),
    "Dolly": (
        {"instruction": "Rain?", "context": "In May", "response": "No.", "category": "weather"},
        TextItem(prompt="Rain?\nIn May", completion="No."),
        "pairs of instruction and context (on a new line) and response",
    ),
    "questions": ({"question": "Rain?", "answer": "No."}, PAIR, "pairs of question and answer"),
    "input and output": ({"input": "Rain?", "output": "No."}, PAIR, "pairs of input and output"),
    "user and assistant": ({"user": "Rain?", "assistant": "No."}, PAIR, "pairs of user and assistant"),
    "Gemini": (
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Ra"}, {"text": "in?"}]},
                {"role": "model", "parts": [{"text": "No."}]},
            ],
        },
        BRIEFED,
        "Gemini (contents and parts)",
    ),
    "TRL": (
        {"prompt": [USER, SAID, USER], "completion": [SAID]},
        TextItem(messages=(USER, SAID | {"weight": 0}, USER, SAID)),
        "pairs of lists of messages, as TRL writes them",
    ),
    "a prompt that is said again": ({"prompt": "Rain?", "prompt_id": "1", "messages": [USER, SAID]}, CHAT, None),
    "a list of messages and a string": (
        {"input": [BRIEF, USER], "output": "No."},
        BRIEFED,
        "pairs of lists of messages, as TRL writes them",
    ),
    "capitals": ({"Prompt": "Rain?", "completion ": "No."}, PAIR, "keys in other letters, such as prompt"),
    "a part that is learned": ({"messages": [USER, SAID | {"content": [{"text": "No.", "weight": 1}]}]}, CHAT, None),
    "nulls": (
        {"messages": [USER | {"name": None}, SAID | {"refusal": None, "tool_calls": None}], "tools": None},
        CHAT,
        None,
    ),
    "a part that is a string": ({"messages": [USER | {"content": ["Rain?"]}, SAID]}, CHAT, None),
}


@pytest.mark.parametrize("what", READ)
def test_a_row_is_read_in_this_shape(what: str) -> None:
    row, item, read_as = READ[what]
    remarks = Remarks()
    assert shaped(row, remarks) == item
    assert remarks.read_as == read_as


def chat(**said: object) -> dict[str, Any]:
    return {"messages": [USER, SAID | said, USER, SAID]}


@pytest.mark.parametrize("key", keys.LEARNED)
@pytest.mark.parametrize("value", [False, 0])
def test_the_masks_of_other_trainers_are_honoured(key: str, value: object) -> None:
    remarks = Remarks()
    [_, first, _, last] = shaped(chat(**{key: value}), remarks).messages or ()
    assert (first.get("weight"), last.get("weight")) == (0, None)
    assert remarks.masked == {key}
    assert shaped(chat(**{key: True})) == shaped(chat())
    assert shaped({"messages": [USER | {key: value}, SAID]}) == CHAT


@pytest.mark.parametrize("key", keys.NOT_LEARNED)
def test_a_mask_may_say_it_the_other_way_round(key: str) -> None:
    assert shaped(chat(**{key: True})) == shaped(chat(weight=0))
    assert shaped(chat(**{key: False})) == shaped(chat())


def test_what_a_message_says_twice_it_may_say_alike() -> None:
    assert shaped(chat(weight=0, train=False)) == shaped(chat(weight=0))


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a weight and a mask that differ": (chat(weight=1, train=False), '"weight" of message 2 .* and "train" that it'),
    "a weight that is negative": (chat(weight=-5), r"message 2 \(assistant\) has a weight other than 0"),
    "a weight that is a string": (chat(weight="0"), "write one of these two numbers"),
    "a mask that is a string": (chat(train="no"), '"train" of message 2 .* is neither true nor false'),
    "a mask for each token": (chat(loss_mask=[0, 1, 1]), "masks of parts of a text are not known"),
    "a mask for each letter": (chat(train_detail=[{"begin_offset": 0}]), '"train_detail".* parts of a text'),
    "a question that shall be learned": ({"messages": [USER | {"train": True}, SAID]}, r"message 1 \(user\) is marked"),
    "weights": (chat(weights=[0, 1]), '"weights", which is not known here; only "weight": 0'),
    "reasoning": (chat(reasoning_content="Clouds?"), '"reasoning_content" of message 2 .* would not be learned'),
    "thoughts": (chat(thinking="Clouds?"), '"thinking" of message 2'),
    "reasoning beside a pair": ({"prompt": "a", "completion": "b", "cot": "c"}, '"cot" of it would not be learned'),
    "a refusal": ({"messages": [USER, {"role": "assistant", "content": None, "refusal": "No"}]}, "2 .* is a refusal"),
    "a begin": (chat(prefix=True), 'the key "prefix"'),
    "a preference": ({"messages": [USER, SAID], "chosen": "a", "rejected": "b"}, "preference pair"),
    "a label": ({"text": "a", "label": 1}, 'the key "label".* not learned here'),
    "what somebody has labelled": ({"text": "a", "annotations": [{"result": []}]}, '"annotations" of it would not be'),
    "a mask that others read the other way round": (chat(mask=0), 'the key "mask".* write "weight": 0'),
    "a mask in capitals": (chat(Train=False), '"Train", which is not known here; write it as "train"'),
    "a mask in quotes": (chat(train="false"), '"train" of message 2 .* write true or false, without quotes'),
    "what was rejected": (chat(status="rejected"), '"status" of message 2 .* rejected, deleted or cut short'),
    "what was cut": ({"prompt": "a", "completion": "b", "finish_reason": "length"}, '"finish_reason" of it says'),
    "what is deleted": (chat(deleted=True), 'the key "deleted".* leave the row out'),
    "a switch that nobody knows": (
        chat(keep=False),
        '"keep", which is not known here.* or give the message "weight": 0',
    ),
    "several keys": (
        chat(foo=1, bar=2, tools=[1], available_tools=[1], cot="a"),
        'keys "foo", "bar", which are not known here.* "tools" of message 2 .* is not read there.* "cot" of message 2',
    ),
    "an answer beside a chat": ({"messages": [USER], "ground_truth": "No."}, "the last message is the answer"),
    "a table by columns": ({"prompt": {"0": "a"}, "completion": {"0": "b"}}, "column by column"),
    "lists of columns": ({"prompt": ["a", "b"], "completion": ["c", "d"]}, "column by column"),
    "a table with its columns apart": ({"columns": ["prompt"], "data": [["a"]]}, "column by column"),
    "rows under numbers": ({"0": {"text": "a"}, "1": {"text": "b"}}, "rows under numbers or names"),
    "a row under a name": ({"item": {"input": "a", "output": "b"}}, "rows under numbers or names"),
    "Claude": ({"uuid": "a", "chat_messages": [{"sender": "human", "text": "a"}]}, "export of Claude"),
    "segments": ({"segments": [{"label": True, "text": "a"}]}, "what axolotl calls segments"),
    "Label Studio": ({"id": 1, "data": {"text": "a"}, "annotations": [{}]}, "export of Label Studio"),
    "a messenger": ({"guild": {}, "messages": [{"author": {"name": "Ann"}, "content": "a"}]}, "export of a messenger"),
    "a part that is not learned": (
        chat(content=[{"type": "text", "text": "No.", "weight": 0}, {"type": "text", "text": "So"}]),
        r"a part of the content of message 2 \(assistant\) is marked as not learned; masks of parts",
    ),
    "a part with the mask of another trainer": (
        chat(content=[{"text": "No.", "train": False}]),
        "marked as not learned",
    ),
    "a key in two letters": ({"Prompt": "a", "prompt": "b", "completion": "c"}, '"Prompt", which is not known'),
    "several answers": ({"prompt": "a", "completion": ["b", "c"]}, "a list of texts; write each pair"),
    "rows for tests": ({"text": "a", "split": "test"}, "a file of their own, the validation_file"),
    "two answers": ({"prompt": "a", "completion": "b", "response": "c"}, "two answers, completion and response"),
    "two questions": ({"prompt": "a", "question": "b", "answer": "c"}, "two questions, prompt and question"),
    "two chats": ({"messages": [USER, SAID], "conversations": [ASKED, ANSWERED]}, "two chats"),
    "a prompt beside a chat": ({"messages": [USER, SAID], "prompt": "Sun?"}, 'the key "prompt"'),
    "two systems": ({"messages": [BRIEF, USER, SAID], "system": "No."}, "two system messages"),
    "a pair and a text": ({"prompt": "a", "completion": "b", "text": "c"}, "text beside them"),
    "no question": ({"prompt": "", "completion": "b"}, 'prompt is empty; for a text without a question write {"text"'),
    "half a pair": ({"completion": "b"}, "beside completion the question is missing"),
    "an empty message": (
        {"messages": [USER, SAID, USER, SAID | {"content": " "}]},
        r"message 4 \(assistant\) is empty",
    ),
    "a null": ({"messages": [USER, SAID | {"content": None}]}, r"message 2 \(assistant\) is missing or null"),
    "a number": ({"messages": [USER, SAID | {"content": 7}]}, "is not a string"),
    "a picture": ({"messages": [USER | {"content": [PICTURE]}, SAID]}, "has a picture as a part"),
    "a sound": ({"messages": [USER | {"content": [{"type": "input_audio"}]}, SAID]}, "has a sound as a part"),
    "a part that refuses": (chat(content=[{"type": "refusal", "refusal": "No"}]), "has a refusal as a part"),
    "a thought as a part": (chat(content=[{"type": "thinking", "thinking": "a"}]), "has reasoning as a part"),
    "a tool as a part": (chat(content=[{"type": "server_tool_use"}]), "in a form that is not known"),
    "several strings": (chat(content=["a", "b"]), "list of several strings; join them"),
    "a key of a part": (chat(content=[{"type": "text", "text": "a", "mood": "b"}]), 'a part of .* the key "mood"'),
    "a role of its own": ({"messages": [USER | {"role": "root"}, SAID]}, "message 1 has another role"),
    "an export of ChatGPT": ({"mapping": {"a": {}}, "title": "b"}, "export of ChatGPT"),
    "a batch": ({"custom_id": "1", "body": {"messages": [USER]}}, "a request of a batch"),
    "an answer": ({"id": "1", "choices": [{"message": SAID}]}, "the answer of an endpoint"),
    "rows in a row": ({"version": 1, "data": [{"text": "a"}]}, 'seems to hold rows under "data"'),
    "a caption": ({"file_name": "a.png", "text": "a cat"}, "the caption of an image"),
    "too many messages": ({"messages": [USER, SAID] * 51}, "it has 102 messages; 1 to 100 are taken"),
    "no message": ({"messages": []}, "it has 0 messages"),
    "messages in a string": ({"messages": '[{"role": "user"}]'}, "a string with a list in it"),
    "one message": ({"role": "user", "content": "a"}, "it is a single message"),
    "history": ({"instruction": "a", "output": "b", "history": [["c", "d"]]}, '"history".* earlier questions'),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_row_is_refused_with_what_to_do(what: str) -> None:
    row, words = REFUSED[what]
    with pytest.raises(ValueError, match=words):
        shaped(row)


def test_a_system_message_that_says_nothing_is_passed_over() -> None:
    nothing: list[object] = ["", " \n", None, [], "\ufeff"]
    for content in nothing:
        remarks = Remarks()
        assert shaped({"messages": [BRIEF | {"content": content}, USER, SAID]}, remarks) == CHAT
        assert remarks.empty_systems == 1


values = st.recursive(
    st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
KNOWN = [*keys.HARMLESS, *keys.LEARNED, *keys.NOT_LEARNED, *keys.SETTINGS, *keys.REASONING, *keys.TOOLS, *keys.ADVICE]
KNOWN += [
    *keys.PICTURES,
    *keys.PAIRS,
    *shapes.QUESTIONS,
    *shapes.ANSWERS,
    *shapes.CHATS,
    *shapes.SYSTEMS,
    "weight",
    "text",
]
BASES: list[tuple[dict[str, Any], list[str | int]]] = [
    ({"messages": [USER, SAID]}, []),
    ({"messages": [BRIEF, USER, SAID]}, ["messages", 0]),
    ({"messages": [USER, SAID]}, ["messages", 0]),
    ({"messages": [USER, SAID, USER, SAID]}, ["messages", 1]),
    ({"messages": [USER | {"content": [{"type": "text", "text": "Rain?"}]}, SAID]}, ["messages", 0, "content", 0]),
    ({"conversations": [ASKED, ANSWERED, ASKED, ANSWERED]}, ["conversations", 1]),
    ({"prompt": "Rain?", "completion": "No."}, []),
    ({"instruction": "Rain?", "output": "No."}, []),
    ({"prompt": [USER], "completion": [SAID]}, ["prompt", 0]),
    ({"text": "No."}, []),
    ({"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}]}, []),
]


@pytest.mark.slow
@given(st.sampled_from(BASES), st.text() | st.sampled_from(KNOWN), values)
@example(BASES[2], "weight", 1)
@example(BASES[3], "train", 0)
@example(BASES[6], "weight", 0)
@example(BASES[0], "Messages", [USER])
def test_any_key_at_any_depth_is_used_known_or_refused(
    base: tuple[dict[str, Any], list[str | int]], key: str, value: object
) -> None:
    given, path = base
    row = copy.deepcopy(given)
    inner: Any = row
    for step in path:
        inner = inner[step]
    if key in inner:
        return
    inner[key] = value
    remarks = Remarks()
    try:
        weighed = keys.is_learned(row, "it", remarks)
        item = shaped(row, remarks)
    except ValueError:
        return
    told = bool(remarks.ignored or remarks.masked or remarks.empty_systems)
    of_the_row = key == "weight" and (weighed is not None or value in (0, 1))
    assert told or of_the_row or item != shaped(given) or (key == "recorded" and not path)


def test_what_is_empty_says_nothing() -> None:
    remarks = Remarks()
    row = {"messages": [USER | {"mood": ""}, SAID | {"tool_calls": [], "type": "message"}], "history": [], "mood": {}}
    assert shaped(row, remarks) == CHAT
    assert remarks.ignored == {"tool_calls", "history", "type", "others that are empty"}


def test_a_finding_can_name_every_key_that_is_known() -> None:
    for key in keys.HARMLESS - {"annotations"}:
        remarks = Remarks()
        shaped({"text": "a", key: "b"}, remarks)
        assert remarks.ignored == {key}
