"""Chats as the lines of OpenAI's fine-tuning files hold them: what can be learned of them, and what cannot, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.references.rows import keys
from core.references.rows.remarks import Remarks

MAX_MESSAGES = 100
ROLES: Mapping[str, str] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# what other trainers call them
OTHER_ROLES: Mapping[str, str] = {
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "ai", "chatbot"), "assistant"),
}
TOOL_ROLES = ("tool", "function", "observation", "function_call", "tool_call", "function_response", "ipython")
TEXT_PARTS = ("text", "input_text", "output_text")
# what a part of another kind is called
PARTS: Mapping[str, str] = {
    **dict.fromkeys(("image_url", "input_image", "image", "image_file"), "a picture"),
    **dict.fromkeys(("input_audio", "audio", "audio_url"), "a sound"),
    **dict.fromkeys(("video", "video_url"), "a video"),
    **dict.fromkeys(("file", "input_file", "document"), "a file"),
}
# a message is {"role", "content"}, and {"weight": 0} too where it is read but not learned
Message = Mapping[str, Any]


def messages_of(value: Sequence[object], remarks: Remarks, *, learned_from: int = 0) -> tuple[Message, ...]:
    """Return the messages of a line; raise ValueError that says what to do where they can't be learned.

    Answers before the place `learned_from` are read and not learned.
    """
    if not 1 <= len(value) <= MAX_MESSAGES:
        raise ValueError(f"it has {len(value)} messages; 1 to {MAX_MESSAGES} are taken")
    read = [_message(message, number, remarks) for number, message in enumerate(value, 1)]
    _check_asked(value[:learned_from])
    masked = [unlearned(message) if place < learned_from else message for place, message in enumerate(read)]
    messages = tuple(message for message in masked if message["content"])
    if not messages or messages[-1]["role"] != "assistant":
        raise ValueError("the last message must be the assistant's, which is what is learned")
    if not any(learned(message) for message in messages):
        raise ValueError("every message of the assistant has the weight 0, so that there is nothing to learn")
    return messages


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
    keys.check_rest(message, {"role", "from", content} if "role" not in message else {"role", content}, where, remarks)
    learns = keys.is_learned(message, where, remarks)
    if learns and role != "assistant" and message.get("weight") == 1:
        remarks.ignored.add("weight 1 of what the assistant does not say")  # as some write it at every message
    elif learns and role != "assistant":
        raise ValueError(f"{where} is marked as learned; only what the assistant says is, so leave its mark out")
    said = _said(message.get(content), f"the {content} of {where}", remarks)
    if role == "system" and (said is None or (isinstance(said, str) and not remarks.clean(said).strip())):
        remarks.empty_systems += 1
        return {"role": role, "content": ""}
    read = {"role": role, "content": string(said, f"the {content} of {where}", remarks)}
    return read if learns is not False else unlearned(read)


def _role(message: Mapping[str, Any], number: int, remarks: Remarks) -> str:
    given = message.get("role", message.get("from"))
    if not isinstance(given, str) or not given.strip():
        raise ValueError(f"message {number} has no role; each message has one: system, user or assistant")
    name = given.strip().lower()
    if name in TOOL_ROLES:
        raise ValueError(keys.NO_TOOLS)
    if (role := ROLES.get(name) or OTHER_ROLES.get(name)) is None:
        raise ValueError(f"message {number} has another role; each message has a role: system, user or assistant")
    if given not in ROLES and "from" not in message:
        remarks.read_as = remarks.read_as or f"chats whose roles are called otherwise ({name})"
    return role


def _check_refusal(message: Mapping[str, Any], content: str, where: str) -> None:
    if message.get("refusal") and not message.get(content):
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
    if kind.startswith(("tool", "function")):
        return keys.NO_TOOLS
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
