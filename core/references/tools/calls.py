"""The calls of functions within messages: read, given ids where they have none, and matched with their results."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from core.references.rows import keys
from core.references.rows.remarks import Remarks
from core.references.tools import verbatim
from core.references.tools.declarations import check_name

Message = Mapping[str, Any]
Call = dict[str, Any]  # {"type": "function", "id", "function": {"name", "arguments"}}
RESULT = "tool"  # the role of what a function has answered
MAX_ID = 100  # characters
# how calls begin that models write into their text, as their templates teach them
WRITTEN_OUT = ("<tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "<function_call>", "<functioncall>", "<function=")


def read(value: object, where: str, remarks: Remarks) -> list[Call]:
    """Return the calls of a message; one that has no id gets it in `matched`. Raises ValueError."""
    if isinstance(value, str):
        value = verbatim.parsed(value, f"the tool_calls of {where}, in a string,")
    if not isinstance(value, list) or not value:
        raise ValueError(f"the tool_calls of {where} are not a list of calls")
    return [_call(entry, f"call {number} of {where}", remarks) for number, entry in enumerate(value, 1)]


def _call(entry: object, where: str, remarks: Remarks) -> Call:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object with a function")
    entry = keys.given(entry)
    if entry.get("type", "function") != "function":
        raise ValueError(f"{where} is of another type than function; only calls of functions are learned")
    inner = entry
    if "function" in entry:
        keys.check_rest(entry, {"type", "id", "function"}, where, remarks)
        keys.check_part(entry, where, remarks)
        if not isinstance(entry["function"], dict):
            raise ValueError(f"the function of {where} is not an object with a name and arguments")
        inner = keys.given(entry["function"])
    used = {"name", "arguments"} if inner is not entry else {"type", "id", "name", "arguments"}
    name = check_name(inner.get("name"), where)
    keys.check_rest(inner, used, where, remarks)
    keys.check_part(inner, where, remarks)
    arguments = _arguments(inner.get("arguments"), f"the arguments of {where}", remarks)
    read = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return read if "id" not in entry else {"id": identifier(entry["id"], f"the id of {where}"), **read}


def _arguments(given: object, what: str, remarks: Remarks) -> object:
    """Return arguments as an object; where there are none it is empty."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    value = verbatim.parsed(given, what) if isinstance(given, str) else given
    if not isinstance(value, dict):
        raise ValueError(f"{what} are no object of JSON")
    return verbatim.clean(value, what, remarks)


def identifier(value: object, what: str) -> str:
    """Return the id of a call; raise ValueError where it can't be one."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID or not value.isprintable():
        raise ValueError(f"{what} is not a string of 1 to {MAX_ID} letters")
    return value


def written(message: Message) -> str:
    """Return the calls of a message as lines of JSON, as most chat templates write them."""
    return "\n".join(verbatim.written(call["function"]) for call in message.get("tool_calls", ()))


def stands_in(text: str, names: Collection[str]) -> bool:
    """Tell whether a text that a model has written holds a call of one of these functions, in a template's marks.

    Those are JSON with a name, the name in front of arguments in braces or brackets, or in front of <parameter=...>.
    """
    name = f"(?:{'|'.join(map(re.escape, sorted(names)))})"
    gap = r"[\s\"':,>\[\]|=]*"
    behind = rf"{gap}(?:(?:arguments|parameters|args|input){gap})?(?:\{{|<parameter)"
    forms = rf'"name":\s*"{name}"|functions\.{name}|(?<![\w.-]){name}(?:\(|{behind})'
    return re.search(forms, text, re.IGNORECASE) is not None


def matched(read: Sequence[tuple[int, Message]], declared: Collection[str]) -> list[Message]:
    """Return messages in which each call has an id, and each result the id and the name of its call.

    `read` are messages with their numbers in the row. Raises ValueError where a result is of no call, where a call has
    no result although the chat goes on, and where a call is of none of the functions that are declared, if any are.
    """
    found = _Matching(declared)
    return [found.next(number, message) for number, message in read]


class _Matching:
    """Goes through a chat, and knows which calls wait for their results."""

    def __init__(self, declared: Collection[str]) -> None:
        self._declared = declared
        self._waiting: dict[str, str] = {}  # id -> name of the function, of the calls of the last message that calls
        self._made = 0
        self._written_out = False  # whether the last answer has calls in its text

    def next(self, number: int, message: Message) -> Message:
        where = f"message {number} ({message['role']})"
        if message["role"] == RESULT:
            return self._result(where, message)
        if self._waiting:
            name = next(iter(self._waiting.values()))
            raise ValueError(
                f"{where} goes on before the call of {name} has its result; write the result as a message of the role "
                "tool, or leave the call out"
            )
        self._written_out = message["role"] == "assistant" and any(mark in message["content"] for mark in WRITTEN_OUT)
        if "tool_calls" not in message:
            return message
        calls = [self._named(call, where) for call in message["tool_calls"]]
        self._waiting = {call["id"]: call["function"]["name"] for call in calls}
        if len(self._waiting) < len(calls):
            raise ValueError(f"two calls of {where} have the same id")
        return {**message, "tool_calls": calls}

    def _named(self, call: Call, where: str) -> Call:
        name = call["function"]["name"]
        if self._declared and name not in self._declared:
            raise ValueError(f"{where} calls {name}, which is none of its tools; declare it, or leave the call out")
        if "id" in call:
            return call
        self._made += 1
        return {"id": f"call{self._made:05d}", **call}  # nine letters and digits: Mistral's templates take no others

    def _result(self, where: str, message: Message) -> Message:
        if not self._waiting and self._written_out and "tool_call_id" not in message:
            return message  # of a call that stands in the text
        id = self._id_of(where, message)
        name = self._waiting.pop(id)
        if message.get("name", name) != name:
            raise ValueError(f"{where} says that it is a result of {message['name']}, and its call is of {name}")
        return {**message, "tool_call_id": id, "name": name}

    def _id_of(self, where: str, message: Message) -> str:
        given = message.get("tool_call_id")
        if given is None:
            named = message.get("name")
            given = next((id for id, name in self._waiting.items() if named in (None, name)), None)
        if given not in self._waiting:
            raise ValueError(f"{where} is the result of no call; a result follows the message that calls, by its id")
        return str(given)
