"""Tools and calls of functions, in the shapes that people bring: what is read, and what is refused with what to do."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.disk import ROOT
from core.errors import InvalidInput
from core.references import chats
from core.references.items import References, TextItem
from core.references.packing import pack, read_folder, read_packed, write_folder
from core.references.rows import keys
from core.references.rows.remarks import Remarks
from core.references.rows.shapes import shaped
from core.references.tools import calls, declarations, verbatim
from core.settings import Settings
from core.uploads import reading

Row = dict[str, Any]
ASK, SAID = {"role": "user", "content": "Rain in Rome?"}, {"role": "assistant", "content": "It is dry."}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "weight": 0}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "Tell the weather.", "parameters": SCHEMA}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "dry"}
# what they become
READ_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
READ_CALLS = {"role": "assistant", "content": "", "tool_calls": [READ_CALL]}
READ_RESULT = {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "dry"}
WHOLE = TextItem(messages=(ASK, READ_CALLS, READ_RESULT, SAID), tools=(TOOL,))


def made(item: TextItem, number: int = 1) -> TextItem:
    """The item with an id that was made, as nothing gave one."""
    text = json.dumps(item.row()).replace('"c1"', f'"call{number:05d}"')
    return TextItem.of(json.loads(text))


def with_calls(*calls: Row, results: tuple[Row, ...] = ()) -> Row:
    return {"messages": [ASK, CALLS | {"tool_calls": list(calls)}, *results], "tools": [TOOL]}


ENDS = TextItem(messages=(ASK, READ_CALLS), tools=(TOOL,))
DRY = "It is dry."
HUMAN = {"from": "human", "value": "Rain in Rome?"}
SPOKEN = {"name": "weather", "arguments": {"city": "Rome"}}
SHARED = {"from": "function_call", "value": json.dumps(SPOKEN)}
GEMINI_CALL = {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Rome"}}}]}
GEMINI_RESULT = {"functionResponse": {"name": "weather", "response": {"sky": "dry"}}}
READ: dict[str, tuple[Row, TextItem]] = {
    "OpenAI's": ({"messages": [ASK, CALLS, RESULT, SAID], "tools": [TOOL], "parallel_tool_calls": False}, WHOLE),
    "arguments as an object": (with_calls(CALL | {"function": SPOKEN}), ENDS),
    "a call without an id and a type": (with_calls({"function": SPOKEN}), made(ENDS)),
    "a flat call": (with_calls({"id": "c1", **SPOKEN}), ENDS),
    "calls in a string": ({"messages": [ASK, CALLS | {"tool_calls": json.dumps([CALL])}], "tools": [TOOL]}, ENDS),
    "words beside a call": (
        {"messages": [ASK, CALLS | {"content": "I look."}], "tools": [TOOL]},
        TextItem(messages=(ASK, READ_CALLS | {"content": "I look."}), tools=(TOOL,)),
    ),
    "a call that is not learned": (
        {"messages": [ASK, CALLS | {"weight": 0}, RESULT, SAID | {"weight": 1}], "tools": [TOOL]},
        TextItem(messages=(ASK, READ_CALLS | {"weight": 0}, READ_RESULT, SAID), tools=(TOOL,)),
    ),
    "an answer that is not learned": (
        {"messages": [ASK, CALLS, RESULT, SAID | {"weight": 0}], "tools": [TOOL]},
        TextItem(messages=(ASK, READ_CALLS, READ_RESULT, SAID | {"weight": 0}), tools=(TOOL,)),
    ),
    "a result without words": (
        {"messages": [ASK, CALLS, RESULT | {"content": ""}, SAID], "tools": [TOOL]},
        TextItem(messages=(ASK, READ_CALLS, READ_RESULT | {"content": ""}, SAID), tools=(TOOL,)),
    ),
    "functions, and role function": (
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": None, "function_call": CALL["function"]},
                {"role": "function", "name": "weather", "content": "dry"},
                SAID,
            ],
            "functions": [FUNCTION],
            "function_call": "auto",
        },
        made(WHOLE),
    ),
    "ShareGPT, with tools in a string": (
        {
            "conversations": [HUMAN, SHARED, {"from": "observation", "value": "dry"}, {"from": "gpt", "value": DRY}],
            "tools": json.dumps([FUNCTION]),
        },
        made(WHOLE),
    ),
    "ms-swift, with each call alone": (
        {
            "messages": [
                ASK,
                {"role": "tool_call", "content": json.dumps(SPOKEN)},
                {"role": "tool_call", "content": json.dumps(SPOKEN)},
                {"role": "tool_response", "content": "dry"},
                {"role": "tool_response", "content": "dry"},
                SAID,
            ],
            "tools": json.dumps([TOOL]),
        },
        TextItem(
            messages=(
                ASK,
                READ_CALLS | {"tool_calls": [READ_CALL | {"id": f"call0000{n}"} for n in (1, 2)]},
                READ_RESULT | {"tool_call_id": "call00001"},
                READ_RESULT | {"tool_call_id": "call00002"},
                SAID,
            ),
            tools=(TOOL,),
        ),
    ),
    "TRL's pair of lists": (
        {"prompt": [ASK, CALLS, RESULT], "completion": [SAID], "tools": [TOOL]},
        TextItem(messages=(ASK, READ_CALLS | {"weight": 0}, READ_RESULT, SAID), tools=(TOOL,)),
    ),
    "a pair beside tools": (
        {"prompt": "Rain in Rome?", "completion": "It is dry.", "tools": [TOOL]},
        TextItem(messages=(ASK, SAID), tools=(TOOL,)),
    ),
    "Anthropic's": (
        {
            "messages": [
                ASK,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "I look."},
                        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "dry"}]},
                SAID,
            ],
            "tools": [{"name": "weather", "description": "Tell the weather.", "input_schema": SCHEMA}],
        },
        TextItem(messages=(ASK, READ_CALLS | {"content": "I look."}, READ_RESULT, SAID), tools=(TOOL,)),
    ),
    "a result and a question in one message": (
        {
            "messages": [
                ASK,
                CALLS,
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "dry"}]},
                        {"type": "text", "text": "Well?"},
                    ],
                },
                SAID,
            ],
            "tools": [TOOL],
        },
        TextItem(messages=(ASK, READ_CALLS, READ_RESULT, ASK | {"content": "Well?"}, SAID), tools=(TOOL,)),
    ),
    "Gemini's": (
        {
            "contents": [
                {"role": "user", "parts": [{"text": "Rain in Rome?"}]},
                GEMINI_CALL,
                {"role": "user", "parts": [GEMINI_RESULT]},
                {"role": "model", "parts": [{"text": "It is dry."}]},
            ],
            "tools": [{"functionDeclarations": [FUNCTION]}],
        },
        made(TextItem(messages=(ASK, READ_CALLS, READ_RESULT | {"content": '{"sky": "dry"}'}, SAID), tools=(TOOL,))),
    ),
    "calls without tools": ({"messages": [ASK, CALLS]}, TextItem(messages=(ASK, READ_CALLS))),
    "tools that are not called": ({"messages": [ASK, SAID], "tools": [TOOL]}, TextItem((ASK, SAID), tools=(TOOL,))),
    "Hermes, whose calls are words": (
        {
            "conversations": [
                {"from": "system", "value": "You have <tools>[...]</tools>"},
                HUMAN,
                {"from": "gpt", "value": "<tool_call>\n{}\n</tool_call>"},
                {"from": "tool", "value": "dry"},
                {"from": "gpt", "value": "It is dry."},
            ],
            "tools": json.dumps([TOOL]),
        },
        TextItem(
            (
                {"role": "system", "content": "You have <tools>[...]</tools>"},
                ASK,
                {"role": "assistant", "content": "<tool_call>\n{}\n</tool_call>"},
                {"role": "tool", "content": "dry"},
                SAID,
            )
        ),
    ),
    "no arguments": (
        {"messages": [ASK, CALLS | {"tool_calls": [{"id": "c1", "function": {"name": "now", "arguments": ""}}]}]},
        TextItem((ASK, READ_CALLS | {"tool_calls": [READ_CALL | {"function": {"name": "now", "arguments": {}}}]})),
    ),
}


@pytest.mark.parametrize("what", READ)
def test_tools_are_read_in_this_shape(what: str) -> None:
    row, item = READ[what]
    assert shaped(row) == item


@pytest.mark.parametrize("what", READ)
def test_an_item_with_tools_is_stored_and_read_again_unchanged(what: str, tmp_path: Path) -> None:
    row, _ = READ[what]
    item = shaped(row)
    pack(References("texts", (item,)), tmp_path / "packed")
    assert read_packed(tmp_path / "packed", "packed", Settings()).items == (item,)
    write_folder(References("texts", (item,)), tmp_path / "folder")
    assert read_folder(tmp_path / "folder").items == (item,)


def call(**changes: object) -> Row:
    return with_calls(CALL | {"function": CALL["function"] | changes})  # type: ignore[operator]


def tool(**changes: object) -> Row:
    return {"messages": [ASK, SAID], "tools": [TOOL | {"function": FUNCTION | changes}]}


REFUSED: dict[str, tuple[Row, str]] = {
    "arguments that are no JSON": (
        call(arguments="{city: Rome}"),
        r"arguments of call 1 of message 2 .* can.t be read as JSON",
    ),
    "arguments that are a list": (call(arguments="[1]"), "are no object of JSON"),
    "arguments with a key twice": (call(arguments='{"a": 1, "a": 2}'), "a key is there twice"),
    "a number that is none": (call(arguments='{"a": NaN}'), "NaN is not a number"),
    "a number that is too large": (call(arguments='{"a": 1e999}'), "a number in it is too large"),
    "arguments that are too deep": (call(arguments='{"a":' * 45 + "1" + "}" * 45), "nested more than 40 deep"),
    "a null character in arguments": (call(arguments='{"a": "\\u0000"}'), "null character"),
    "a call of another function": (call(name="sun"), r"message 2 \(assistant\) calls sun, which is none of its tools"),
    "a call without a name": (call(name=None), "has no name of a function"),
    "a long name": (tool(name="a" * 65), r"\(65 letters\); a name has 1 to 64 letters"),
    "a name with a blank": (tool(name="the weather"), "a name has 1 to 64 letters of a-z, A-Z, 0-9, dots, _ and -$"),
    "two tools of one name": ({"messages": [ASK, SAID], "tools": [TOOL, TOOL]}, 'two of its tools .* "weather"'),
    "too many tools": (
        {"messages": [ASK, SAID], "tools": [TOOL | {"function": FUNCTION | {"name": f"f{n}"}} for n in range(129)]},
        "129 tools; at most 128",
    ),
    "another kind of tool": ({"messages": [ASK, SAID], "tools": [{"type": "web_search"}]}, 'of the type "web_search"'),
    "a key of a tool": (tool(mood="dry"), r'tool 1 \(weather\) has the key "mood"'),
    "a mask of a tool": (tool(weight=0), "marked as not learned"),
    "parameters that are a list": (
        tool(parameters=[1]),
        "the parameters of tool 1 .* can.t be read: a JSON schema is an object",
    ),
    "tools that are a number": ({"messages": [ASK, SAID], "tools": 7}, "its tools are not a list"),
    "tools in a broken string": (
        {"messages": [ASK, SAID], "tools": "[{"},
        "its tools in a string can.t be read as JSON",
    ),
    "tools and functions": ({"messages": [ASK, SAID], "tools": [TOOL], "functions": [FUNCTION]}, "keep one of them"),
    "tools beside a text": ({"text": "a", "tools": [TOOL]}, '"tools" of it is not read there'),
    "a key of a call": (with_calls(CALL | {"mood": 1}), r'call 1 of message 2 \(assistant\) has the key "mood"'),
    "a mask of a call": (with_calls(CALL | {"train": False}), "call 1 of .* is marked as not learned"),
    "a call of another kind": (with_calls(CALL | {"type": "custom"}), "another type than function"),
    "a call that is a string": ({"messages": [ASK, CALLS | {"tool_calls": ["a"]}]}, "is not an object with a function"),
    "a user who calls": ({"messages": [ASK | {"tool_calls": [CALL]}, SAID]}, '"tool_calls" of message 1'),
    "two calls of one id": (with_calls(CALL, CALL), "two calls of message 2 .* have the same id"),
    "an id that is a number": (with_calls(CALL | {"id": 7}), "the id of call 1 .* is not a string of 1 to 100"),
    "a result of no call": ({"messages": [ASK, RESULT, SAID]}, r"message 2 \(tool\) is the result of no call"),
    "a result of another call": (
        {"messages": [ASK, CALLS, RESULT | {"tool_call_id": "c2"}, SAID]},
        r"message 3 \(tool\) is the result of no call",
    ),
    "a result twice": ({"messages": [ASK, CALLS, RESULT, RESULT, SAID]}, r"message 4 .* is the result of no call"),
    "a result with another name": (
        {"messages": [ASK, CALLS, RESULT | {"name": "sun"}, SAID]},
        "a result of sun, and its call is of weather",
    ),
    "a call without its result": ({"messages": [ASK, CALLS, SAID]}, r"message 3 .* before the call of weather has its"),
    "one of two results": (
        {"messages": [ASK, CALLS | {"tool_calls": [CALL, CALL | {"id": "c2"}]}, RESULT, SAID]},
        "before the call of weather has its result",
    ),
    "a result at the end": ({"messages": [ASK, CALLS, RESULT]}, "ends with a tool's result"),
    "a result that is null": ({"messages": [ASK, CALLS, RESULT | {"content": None}, SAID]}, "is missing or null"),
    "a result that is learned": ({"messages": [ASK, CALLS, RESULT | {"train": True}, SAID]}, "is marked as learned"),
    "nothing learned": ({"messages": [ASK, CALLS | {"weight": 0}]}, "nothing to learn"),
    "function_call and tool_calls": (
        {"messages": [ASK, CALLS | {"function_call": SPOKEN}]},
        "a function_call and tool_calls",
    ),
    "words behind a call": (
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": [{"type": "tool_use", "name": "f"}, {"type": "text", "text": "a"}]},
                RESULT,
                SAID,
            ]
        },
        "goes on before the call of f has its result",
    ),
    "a role that calls, in words": (
        {"messages": [ASK, {"role": "function_call", "content": "weather!"}]},
        r"the content of message 2 \(function_call\) can.t be read as JSON",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_tools_are_refused_with_what_to_do(what: str) -> None:
    row, words = REFUSED[what]
    with pytest.raises(ValueError, match=words):
        shaped(row)


def test_the_schema_of_a_function_is_carried_as_it_stands_but_for_what_is_no_text() -> None:
    weight = {"enum": [0, 1.5, True, None, []]}
    deep: Row = {"train": False, "label": None, "$defs": {"weight": weight}, "x-mood": "a\r\nb"}
    remarks = Remarks()
    item = shaped(tool(parameters=deep), remarks)
    assert item.tools is not None
    assert item.tools[0]["function"]["parameters"] == deep | {"x-mood": "a\nb"}
    assert remarks.cleaned.total() == 1


def test_what_no_template_writes_is_told() -> None:
    remarks = Remarks()
    shaped(tool(strict=True) | {"tool_choice": "required", "parallel_tool_calls": True}, remarks)
    assert remarks.ignored == {"strict", "tool_choice", "parallel_tool_calls"}


def test_calls_of_functions_that_nothing_declares_are_told() -> None:
    undeclared, declared = Remarks(), Remarks()
    shaped({"messages": [ASK, CALLS]}, undeclared)
    shaped(with_calls(CALL), declared)
    assert (undeclared.undeclared, declared.undeclared) == (True, False)


def test_what_is_said_and_counted_holds_the_calls_and_the_tools() -> None:
    assert chats.said(READ_CALLS) == '{"name": "weather", "arguments": {"city": "Rome"}}'
    assert chats.said(READ_CALLS | {"content": "I look."}).startswith("I look.\n{")
    words = WHOLE.words()
    assert '{"name": "weather", "arguments": {"city": "Rome"}}' in words
    assert verbatim.written(SCHEMA) in words


values = st.recursive(
    st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
NAMED = [*keys.HARMLESS, *keys.LEARNED, *keys.NOT_LEARNED, *keys.SETTINGS, *keys.TOOLS, *keys.ADVICE, "weight", "type"]
NAMED += [*declarations.PARTS, *declarations.LISTS, "function", "arguments", "args", "input", "custom", "is_error"]
PLACES: list[list[str | int]] = [
    [],
    ["messages", 1],
    ["messages", 1, "tool_calls", 0],
    ["messages", 1, "tool_calls", 0, "function"],
    ["messages", 2],
    ["tools", 0],
    ["tools", 0, "function"],
]
CHAT: Row = {"messages": [ASK, CALLS, RESULT, SAID], "tools": [TOOL]}
ANTHROPIC: Row = READ["Anthropic's"][0]
GEMINI: Row = READ["Gemini's"][0]
BASES: list[tuple[Row, list[str | int]]] = [(CHAT, place) for place in PLACES]
BASES += [(ANTHROPIC, ["messages", 1, "content", 1]), (ANTHROPIC, ["messages", 2, "content", 0])]
BASES += [(GEMINI, ["contents", 1, "parts", 0]), (GEMINI, ["contents", 1, "parts", 0, "functionCall"])]
BASES += [(GEMINI, ["contents", 2, "parts", 0, "functionResponse"]), (GEMINI, ["tools", 0])]
BASES += [(READ["ShareGPT, with tools in a string"][0], ["conversations", place]) for place in (1, 2)]


@given(st.sampled_from(BASES), st.text() | st.sampled_from(NAMED), values)
@example(BASES[2], "weight", 0)
@example(BASES[3], "train", False)
@example(BASES[6], "return", {})
@example(BASES[6], "type", [])
def test_any_key_within_tools_and_calls_is_used_known_or_refused(
    base: tuple[Row, list[str | int]], key: str, value: object
) -> None:
    whole, path = base
    row = copy.deepcopy(whole)
    inner: Any = row
    for step in path:
        inner = inner[step]
    if key in inner:
        return
    inner[key] = value
    remarks, plain = Remarks(), Remarks()
    usual = shaped(whole, plain)
    try:
        weighed = keys.is_learned(row, "it", remarks)
        item = shaped(row, remarks)
    except ValueError:
        return
    told = (remarks.ignored, remarks.masked) != (plain.ignored, plain.masked)
    said_again = key == "weight" and (weighed is not None or value in (0, 1))
    assert told or said_again or item != usual or (key, value) == ("type", "function") or key == "recorded"


@pytest.mark.slow
@given(st.dictionaries(st.text(), values))
def test_any_arguments_and_any_schema_come_back_as_they_were_or_are_refused(value: dict[str, object]) -> None:
    try:
        item = shaped({"messages": [ASK, CALLS | {"tool_calls": [{"name": "f", "arguments": value}]}]})
        again = shaped({"messages": [ASK, CALLS | {"tool_calls": [{"name": "f", "arguments": json.dumps(value)}]}]})
    except ValueError:
        return
    assert item == again == shaped(item.row())


WRITTEN = {
    "Hermes and Qwen": '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>',
    "Hermes, the other way round": '{"arguments": {"city": "Rome"}, "name": "weather"}',
    "Llama": '{"name": "weather", "parameters": {"city": "Rome"}}',
    "Python": '[weather(city="Rome")]',
    "Mistral": 'weather[ARGS]{"city": "Rome"}',
    "Qwen's coder": "<function=weather>\n<parameter=city>\nRome",
    "FunctionGemma": "call:weather{city:Rome}",
    "gpt-oss": 'to=functions.weathercommentary json{"city": "Rome"}',
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_call_is_seen_in_the_marks_of_its_template(form: str) -> None:
    assert calls.stands_in(WRITTEN[form], {"weather", "sun"})
    assert not calls.stands_in(WRITTEN[form], {"sun"})


@pytest.mark.parametrize("words", ["The weather is fine.", "the weather (of May)", "weatherman(1)", "weather: dry", ""])
def test_words_are_no_call(words: str) -> None:
    assert not calls.stands_in(words, {"weather"})


def test_the_example_of_the_documentation_is_read_as_it_says(tmp_path: Path) -> None:
    section = (ROOT / "docs/texts.md").read_text().split("## Tools")[1]
    example = section.split("```json")[1].split("```")[0]
    (tmp_path / "chat.json").write_text(example)
    found = reading.read(tmp_path / "chat.json", "chat.json", Settings())
    (item,) = found.items
    assert isinstance(item, TextItem)
    assert item.messages is not None
    assert [message["role"] for message in item.messages] == ["user", "assistant", "tool", "assistant"]
    assert item.messages[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Rome"}}
    assert item.tools is not None
    assert {finding.code for finding in found.findings} == {"few_items", "read_as"}


def test_an_upload_with_tools_is_judged_and_told(tmp_path: Path) -> None:
    rows = [json.dumps(row) for row, _ in READ.values()] + [json.dumps(READ["OpenAI's"][0])]
    (tmp_path / "tools.jsonl").write_text("\n".join(rows))
    found = reading.read(tmp_path / "tools.jsonl", "tools.jsonl", Settings())
    told = {finding.code: finding.message for finding in found.findings}
    assert "calls as Anthropic writes them (tool_use) in 2 rows" in told["rows_read_as"]
    assert "Functions are called that no tools beside the messages declare: 2 rows (line 1" in told["calls_undeclared"]
    assert "parallel_tool_calls in 2 rows" in told["keys_ignored"]
    assert "duplicate_item" in told
    calm = tmp_path / "calm.jsonl"
    calm.write_text(json.dumps(READ["OpenAI's"][0]))
    assert "calls_undeclared" not in {f.code for f in reading.read(calm, "calm.jsonl", Settings()).findings}


def test_two_texts_that_call_alike_are_copies_and_other_arguments_answer_differently(tmp_path: Path) -> None:
    other = json.loads(json.dumps(with_calls(CALL)).replace("Rome", "Oslo"))
    other["messages"][0] = ASK
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, (with_calls(CALL), with_calls(CALL), other))))
    found = reading.read(tmp_path / "a.jsonl", "a.jsonl", Settings())
    assert len(found.items) == 2
    assert "conflicting_examples" in {finding.code for finding in found.findings}


def test_a_bad_row_with_tools_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, (with_calls(CALL), call(arguments="{")))))
    with pytest.raises(InvalidInput, match=r"Line 2 of a\.jsonl can't be used: the arguments of call 1 of message 2"):
        reading.read(tmp_path / "a.jsonl", "a.jsonl", Settings())
