"""A conversation as a person reads it: who says what, calls of functions in words, long turns cut."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.references import chats

SHOWN_CHARACTERS = 2_000  # of a whole conversation


def shown(messages: Sequence[chats.Message], most: int = SHOWN_CHARACTERS) -> list[dict[str, Any]]:
    """Return all turns, whose contents have `most` characters together: the longest are cut, and say so.

    `learned` says whether training teaches to write the turn.
    """
    contents = [plain(message) for message in messages]
    each = _longest(sorted(map(len, contents)), most)
    return [
        {
            "role": message["role"],
            "content": content[:each],
            "cut": len(content) > each,
            "learned": chats.learned(message),
        }
        for message, content in zip(messages, contents, strict=True)
    ]


def plain(message: chats.Message) -> str:
    """Return what a turn says, and a line of words for each function that it calls."""
    calls = (_called(call["function"]) for call in message.get("tool_calls", ()))
    return "\n".join(part for part in (message["content"], *calls) if part)


def _called(function: Mapping[str, Any]) -> str:
    arguments = ", ".join(f"{name}: {_value(value)}" for name, value in function["arguments"].items())
    return f"calls {function['name']} with {arguments}" if arguments else f"calls {function['name']}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _longest(lengths: Sequence[int], most: int) -> int:
    """Return how many characters of a turn there is room for, where the short ones leave theirs to the long ones."""
    left = most
    for number, length in enumerate(lengths):
        share = left // (len(lengths) - number)
        if length > share:
            return share
        left -= length
    return most
