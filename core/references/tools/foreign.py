"""Calls and results as others than OpenAI write them, made into messages of OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.references.rows import keys
from core.references.rows.remarks import Remarks
from core.references.tools import verbatim
from core.references.tools.calls import RESULT

Row = dict[str, Any]
# ShareGPT (LLaMA-Factory, ms-swift): a message of this role is nothing but calls, as JSON
CALLING = frozenset({"function_call", "tool_call", "tool_calls"})
RESULTS = frozenset({"tool", "function", "observation", "function_response", "tool_response", "tool_result", "ipython"})
CALL_PARTS = ("functionCall", "function_call")  # Gemini's
RESULT_PARTS = ("functionResponse", "function_response")
ANTHROPIC, GEMINI = "calls as Anthropic writes them (tool_use)", "calls as Gemini writes them (functionCall)"


def spread(messages: Sequence[object], remarks: Remarks) -> list[tuple[int, object]]:
    """Return messages with their numbers, from 1 on: one that holds calls or results in its parts becomes several."""
    found: list[tuple[int, object]] = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict):
            found.append((number, message))
            continue
        message = keys.given(message)
        role = message.get("role", message.get("from"))
        name = role.strip().lower() if isinstance(role, str) else ""
        where = f"message {number} ({name})"
        if name in CALLING:
            found.append((number, _calling(message, where, remarks)))
        elif name not in RESULTS and isinstance(message.get("function_call"), dict):
            found.append((number, _legacy(message, where, remarks)))
        elif isinstance(message.get("content"), list):
            found += [(number, each) for each in _by_parts(message, where, remarks)]
        else:
            found.append((number, message))
    return found


def _calling(message: Row, where: str, remarks: Remarks) -> Row:
    """Return a message of which the content is a call, or a list of calls, as JSON."""
    key = "value" if "content" not in message else "content"
    given = message.get(key)
    value = verbatim.parsed(given, f"the {key} of {where}") if isinstance(given, str) else given
    remarks.tools_read_as.add("messages that are calls, as in ShareGPT")
    rest = {name: kept for name, kept in message.items() if name not in ("role", "from", key)}
    return {**rest, "role": "assistant", "tool_calls": value if isinstance(value, list) else [value]}


def _legacy(message: Row, where: str, remarks: Remarks) -> Row:
    if message.get("tool_calls"):
        raise ValueError(f"{where} has a function_call and tool_calls; keep one of them")
    remarks.tools_read_as.add("function_call, as OpenAI called a call first")
    rest = {name: kept for name, kept in message.items() if name != "function_call"}
    return {**rest, "tool_calls": [message["function_call"]]}


def _by_parts(message: Row, where: str, remarks: Remarks) -> list[Row]:
    """Return a message whose parts may be text, calls and results as messages of one kind each, in their order."""
    beside = {name: kept for name, kept in message.items() if name not in ("content", "tool_calls")}
    found: list[Row] = []
    said: list[object] = []
    for part in message["content"]:
        given = keys.given(part) if isinstance(part, dict) else {}
        if (call := _call_part(given, where, remarks)) is not None:
            if not found or "tool_calls" not in found[-1] or said:
                found.append({**beside, "content": said, "tool_calls": []})
            found[-1]["tool_calls"].append(call)
            said = []
        elif (result := _result_part(given, where, remarks)) is not None:
            found += [{**beside, "content": said}] if said else []
            marks = {name: kept for name, kept in beside.items() if name not in ("role", "from", "name")}
            found.append({**marks, **result})
            said = []
        else:
            said.append(part)
    if not found:
        return [message]
    if message.get("tool_calls"):
        raise ValueError(f"{where} has calls in its content and tool_calls beside it; keep one of them")
    return found + ([{**beside, "content": said}] if said else [])


def _call_part(part: Mapping[str, Any], where: str, remarks: Remarks) -> Row | None:
    where = f"a call of {where}"
    if part.get("type") == "tool_use":
        _check(part, {"type", "id", "name", "input"}, where, remarks)
        remarks.tools_read_as.add(ANTHROPIC)
        return {"arguments": part.get("input"), **{key: part[key] for key in ("id", "name") if key in part}}
    if (inner := _inner(part, CALL_PARTS, where, remarks)) is None:
        return None
    _check(inner, {"id", "name", "args"}, where, remarks)
    return {"arguments": inner.get("args"), **{key: inner[key] for key in ("id", "name") if key in inner}}


def _result_part(part: Mapping[str, Any], where: str, remarks: Remarks) -> Row | None:
    where = f"a result of {where}"
    if part.get("type") == "tool_result":
        _check(part, {"type", "tool_use_id", "content", "is_error"}, where, remarks)
        remarks.tools_read_as.add(ANTHROPIC)
        remarks.ignored |= {"is_error"} & part.keys()
        return {"role": RESULT, "tool_call_id": part.get("tool_use_id"), "content": part.get("content", "")}
    if (inner := _inner(part, RESULT_PARTS, where, remarks)) is None:
        return None
    _check(inner, {"id", "name", "response"}, where, remarks)
    named = {kept: inner[key] for key, kept in (("id", "tool_call_id"), ("name", "name")) if key in inner}
    return {"role": RESULT, "content": inner.get("response", {}), **named}


def _inner(part: Mapping[str, Any], names: Sequence[str], where: str, remarks: Remarks) -> Row | None:
    """Return what Gemini puts under one of these names into a part; None where it is another part."""
    named = [name for name in names if isinstance(part.get(name), dict)]
    if not named:
        return None
    _check(part, set(named[:1]), where, remarks)
    remarks.tools_read_as.add(GEMINI)
    return keys.given(part[named[0]])


def _check(part: Mapping[str, Any], used: set[str], where: str, remarks: Remarks) -> None:
    keys.check_rest(part, used, where, remarks)
    keys.check_part(part, where, remarks)


def alone(messages: Sequence[object]) -> frozenset[int]:
    """Return the numbers of messages that are nothing but calls, by their role: ShareGPT writes each call alone."""
    roles = [message.get("role", message.get("from")) if isinstance(message, dict) else None for message in messages]
    names = [role.strip().lower() if isinstance(role, str) else "" for role in roles]
    return frozenset(number for number, name in enumerate(names, 1) if name in CALLING)


def joined(read: Sequence[tuple[int, Mapping[str, Any]]], alone: frozenset[int]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return messages in which calls that stand alone are of what the assistant says before them, or calls before."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    for number, message in read:
        last = found[-1][1] if found else {}
        follows = last.get("role") == "assistant" and last.get("weight") == message.get("weight")
        if number in alone and follows:
            calls = [*last.get("tool_calls", ()), *message["tool_calls"]]
            found[-1] = found[-1][0], {**last, "tool_calls": calls}
        else:
            found.append((number, message))
    return found
