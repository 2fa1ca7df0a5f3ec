"""Chats as the lines of OpenAI's fine-tuning files hold them: what can be learned of them, and what cannot, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import text_safety

MAX_MESSAGES = 100
ROLES: Mapping[str, str] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
TOOL_ROLES = ("tool", "function")
TOOL_KEYS = ("tools", "functions", "tool_calls", "function_call")
# beside the messages of a line; `recorded` says where an answer comes from and is not learned
SETTINGS = frozenset({"weight", "tools", "functions", "parallel_tool_calls", "recorded"})
NO_TOOLS = "it has tools or tool calls, which are not learned here; leave them out, or the whole line"
NO_PAIRS = "it is a preference pair (dpo), which is not learned here; make the preferred answer the last message"
# a message is {"role", "content"}, and {"weight": 0} too where it is read but not learned
Message = Mapping[str, Any]


def messages_of(row: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the messages of a line; raise ValueError that says what to do where they can't be learned."""
    value = row["messages"]
    if set(row) - {"messages"} - SETTINGS:
        raise ValueError("beside its messages it has keys that are not known; leave them out")
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
        raise ValueError(f"messages is a list of 1 to {MAX_MESSAGES}")
    if any(isinstance(part, dict) and any(part.get(key) for key in TOOL_KEYS) for part in (row, *value)):
        raise ValueError(NO_TOOLS)
    messages = tuple(_message(message) for message in value)
    if messages[-1]["role"] != "assistant":
        raise ValueError("the last message must be the assistant's, which is what is learned")
    if not any(learned(message) for message in messages):
        raise ValueError("every message of the assistant has the weight 0, so that there is nothing to learn")
    return messages


def learned(message: Message) -> bool:
    """Tell whether training teaches to write this message: the assistant's, unless its weight is 0."""
    return message["role"] == "assistant" and message.get("weight", 1) != 0


def string(value: object, key: str) -> str:
    """Return a text that is not blank, cleaned; raise ValueError."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} is missing, empty or not a string")
    return text_safety.clean(value)


def _message(message: object) -> Message:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(role, str) or role not in (*ROLES, *TOOL_ROLES):
        raise ValueError("each message has a role: system, user or assistant")
    if role in TOOL_ROLES:
        raise ValueError(NO_TOOLS)
    said = {"role": ROLES[role], "content": string(_joined(message.get("content")), "content")}
    weight = message.get("weight", 1)
    if weight is not None and weight not in (0, 1):
        raise ValueError("a message has a weight other than 0 (it is not learned) and 1 (it is)")
    return said | {"weight": 0} if role == "assistant" and weight == 0 else said


def _joined(content: object) -> object:
    """Return the text of a content that is a list of parts; anything else as it is."""
    if not isinstance(content, list):
        return content
    if any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
        raise ValueError("a message holds an image, a sound or a file; chats are learned as text only")
    told = [part.get("text") for part in content]
    if not all(isinstance(text, str) for text in told):
        raise ValueError("the text of a content part is missing or not a string")
    return "".join(told)
