"""Chats as the lines of OpenAI's fine-tuning files hold them: what can be learned of them, and what cannot, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.references.rows import keys
from core.references.rows.remarks import Remarks
from core.references.tools import calls, foreign, verbatim
from core.references.tools.calls import RESULT
from core.references.tools.declarations import Tool

MAX_MESSAGES = 100
ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    RESULT: RESULT,
}
# what other trainers call them
OTHER_ROLES: Mapping[str, str] = {
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "ai", "chatbot"), "assistant"),
    **dict.fromkeys(foreign.RESULTS, RESULT),
}
TEXT_PARTS = ("text", "input_text", "output_text")
# what a part of another kind is called
PARTS: Mapping[str, str] = {
    **dict.fromkeys(("image_url", "input_image", "image", "image_file"), "a picture"),
    **dict.fromkeys(("input_audio", "audio", "audio_url"), "a sound"),
    **dict.fromkeys(("video", "video_url"), "a video"),
    **dict.fromkeys(("file", "input_file", "document"), "a file"),
}
# a message is {"role", "content"}, and {"weight": 0} too where it is read but not learned; the assistant's may hold
# "tool_calls", and has an empty content where it says nothing else; one of the role tool has "tool_call_id" and "name"
Message = Mapping[str, Any]


def messages_of(
    value: Sequence[object], remarks: Remarks, *, learned_from: int = 0, tools: Sequence[Tool] = ()
) -> tuple[Message, ...]:
    """Return the messages of a line; raise ValueError that says what to do where they can't be learned.

    Answers before the place `learned_from` are read and not learned. `tools` are the functions that may be called.
    """
    _check_count(len(value))
    read = [(number, _message(each, number, remarks)) for number, each in foreign.spread(value, remarks)]
    _check_asked(value[:learned_from])
    masked = [(number, unlearned(message) if number <= learned_from else message) for number, message in read]
    kept = [(number, message) for number, message in masked if message["role"] != "system" or message["content"]]
    declared = [tool["function"]["name"] for tool in tools]
    messages = tuple(calls.matched(foreign.joined(kept, foreign.alone(value)), declared))
    _check_count(len(messages) or 1)
    remarks.undeclared = not tools and any("tool_calls" in message for message in messages)
    _check_end(messages)
    return messages


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_MESSAGES:
        raise ValueError(f"it has {count} messages; 1 to {MAX_MESSAGES} are taken")


def _check_end(messages: Sequence[Message]) -> None:
    if messages and messages[-1]["role"] == RESULT:
        raise ValueError(
            "it ends with a tool's result, from which nothing is learned; add what the assistant says to it, or leave "
            "the result out"
        )
    if not messages or messages[-1]["role"] != "assistant":
        raise ValueError("the last message must be the assistant's, which is what is learned")
    if not any(learned(message) for message in messages):
        raise ValueError("every message of the assistant has the weight 0, so that there is nothing to learn")


def _check_asked(asked: Sequence[object]) -> None:
    """Refuse a message of a question that is marked as learned: what a question holds is read only."""
    for number, message in enumerate(asked, 1):
        if isinstance(message, dict) and keys.is_learned(message, f"message {number}", Remarks()):
            raise ValueError(f"message {number} stands in the question and is marked as learned; write one chat")


def learned(message: Message) -> bool:
    """Tell whether training teaches to write this message: the assistant's, unless its weight is 0."""
    return message["role"] == "assistant" and message.get("weight", 1) != 0


def unlearned(message: Message) -> Message:
    """Return the message as one that is read and not learned."""
    return {**message, "weight": 0} if message["role"] == "assistant" else message


def said(message: Message) -> str:
    """Return all that a message says: its words, and its calls as lines of JSON."""
    return "\n".join(part for part in (message["content"], calls.written(message)) if part)


def string(value: object, what: str, remarks: Remarks) -> str:
    """Return a text that is not blank, cleaned; raise ValueError that says what it is instead."""
    if value is None:
        raise ValueError(f"{what} is missing or null")
    if not isinstance(value, str):
        raise ValueError(f"{what} is not a string")
    if not (text := remarks.clean(value)).strip():
        raise ValueError(f"{what} is empty")
    return text


def _message(message: object, number: int, remarks: Remarks) -> Message:
    """Return a message; one of the system that says nothing has no content."""
    if not isinstance(message, dict):
        raise ValueError(f"message {number} is not an object with a role and a content")
    message = keys.given(message)
    role = _role(message, number, remarks)
    where = f"message {number} ({role})"
    content = "value" if "value" in message and "content" not in message else "content"
    if content == "value":
        remarks.read_as = remarks.read_as or "ShareGPT (from and value)"
    if role != "system":
        _check_refusal(message, content, where)
    of_tools = _of_tools(message, role, where)
    used = {"role", content, *of_tools} | ({"from"} if "role" not in message else set())
    keys.check_rest(message, used, where, remarks)
    learns = keys.is_learned(message, where, remarks)
    if learns and role != "assistant" and message.get("weight") == 1:
        remarks.ignored.add("weight 1 of what the assistant does not say")  # as some write it at every message
    elif learns and role != "assistant":
        raise ValueError(f"{where} is marked as learned; only what the assistant says is, so leave its mark out")
    if "tool_calls" in of_tools:
        of_tools["tool_calls"] = calls.read(of_tools["tool_calls"], where, remarks)
    words = _words(message.get(content), role, f"the {content} of {where}", remarks, bool(of_tools.get("tool_calls")))
    read = {"role": role, "content": words, **of_tools}
    return read if learns is not False else unlearned(read)


def _of_tools(message: Mapping[str, Any], role: str, where: str) -> dict[str, Any]:
    """Return what a message says of tools: the calls of the assistant's, or of which call it is the result."""
    if role == "assistant":
        return {"tool_calls": message["tool_calls"]} if message.get("tool_calls") not in (None, [], {}, "") else {}
    found = {key: message[key] for key in ("tool_call_id", "name") if role == RESULT and key in message}
    for key, value in found.items():
        calls.identifier(value, f"the {key} of {where}")
    return found


def _words(content: object, role: str, what: str, remarks: Remarks, calling: bool) -> str:
    """Return what a message says, cleaned; only a call, a result and a system message may say nothing."""
    if role == RESULT and isinstance(content, dict):
        remarks.tools_read_as.add("results that are objects, as JSON")
        return verbatim.written(verbatim.clean(content, what, remarks))
    words = _said(content, what, remarks)
    silent = words is None or (isinstance(words, str) and not remarks.clean(words).strip())
    if silent and (calling or (role == RESULT and words is not None)):
        return ""
    if silent and role == "system":
        remarks.empty_systems += 1
        return ""
    return string(words, what, remarks)


def _role(message: Mapping[str, Any], number: int, remarks: Remarks) -> str:
    given = message.get("role", message.get("from"))
    if not isinstance(given, str) or not given.strip():
        raise ValueError(f"message {number} has no role; each message has one: system, user, assistant or tool")
    name = given.strip().lower()
    if (role := ROLES.get(name) or OTHER_ROLES.get(name)) is None:
        raise ValueError(f"message {number} has another role; each message has a role: system, user, assistant or tool")
    if given not in ROLES and "from" not in message:
        remarks.read_as = remarks.read_as or f"chats whose roles are called otherwise ({name})"
    return role


def _check_refusal(message: Mapping[str, Any], content: str, where: str) -> None:
    if message.get("refusal") and not message.get(content) and not message.get("tool_calls"):
        raise ValueError(
            f"{where} is a refusal, as OpenAI's answers hold it, and says nothing else; leave the row out, or make the "
            "refusal its content"
        )


def _said(content: object, what: str, remarks: Remarks) -> object:
    """Return the text of a content that is a list of parts; anything else as it is."""
    if not isinstance(content, list):
        return content
    if len(content) > 1 and any(isinstance(part, str) for part in content):
        raise ValueError(f"{what} is a list of several strings; join them to one, as they shall be read")
    return "".join(_part(part, what, remarks) for part in content)


def _part(part: object, what: str, remarks: Remarks) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise ValueError(f"{what} has a part that is neither a string nor an object")
    part = keys.given(part)
    kind = part.get("type", "text")
    if kind not in TEXT_PARTS:
        raise ValueError(_other_part(kind, what))
    keys.check_rest(part, {"type", "text"}, f"a part of {what}", remarks)
    keys.check_part(part, f"a part of {what}", remarks)
    if not isinstance(part.get("text"), str):
        raise ValueError(f"the text of a part of {what} is missing or not a string")
    return str(part["text"])


def _other_part(kind: object, what: str) -> str:
    if not isinstance(kind, str):
        return f"{what} has a part whose type is not a string"
    if kind in PARTS:
        return f"{what} has {PARTS[kind]} as a part; chats are learned as text only, so leave the row or the part out"
    if kind.startswith(("tool", "function")) or kind.endswith(("tool_use", "tool_result")):
        return f"{what} has a tool's call or result in a form that is not known; write calls as tool_calls"
    if kind == "refusal":
        return f"{what} has a refusal as a part; leave the row out, or make it a part of the type text"
    if kind in keys.REASONING or kind.startswith(("thinking", "reasoning", "redacted")):
        return (
            f"{what} has reasoning as a part; make it a part of the type text if it shall be learned, or leave it out"
        )
    return f"{what} has a part of a type that is not known; parts of the type text are learned"


def joined(rows: Sequence[object]) -> list[object]:
    """Return Gemini's messages, whose content is in "parts", as messages with a content."""
    return [
        {("content" if key == "parts" else key): value for key, value in row.items()} if isinstance(row, dict) else row
        for row in rows
    ]
