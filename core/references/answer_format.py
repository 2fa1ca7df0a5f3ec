"""Whether answers share a shape, as JSON or labelled lines do: then that shape is what their owner wants learned."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.references.items import TextItem

MIN_SHARE_OF_ANSWERS = 0.8  # of the answers
MIN_ANSWERS = 2
MIN_LABELS = 2
MAX_SEARCHED_CHARACTERS = 4_000  # of an answer are searched for labels
# One class for all that may stand before a label: two in a row that both take stars try every split of a line of them.
_LABEL = re.compile(r"^[-*# \t]*([A-Za-z][\w -]{0,30}?)\**:", re.MULTILINE)
_ASKED = re.compile(r"\b(json|yaml|xml|csv|markdown table|html|sql|schema)\b", re.IGNORECASE)


def shape(items: Sequence[TextItem]) -> str | None:
    """Say which shape most of the answers have, as a sentence; None where they have none."""
    answers = [answer for item in items if (answer := _answer(item))]
    if len(answers) < MIN_ANSWERS:
        return None
    enough = MIN_SHARE_OF_ANSWERS * len(answers)
    if (count := sum(json_value(answer) is not None for answer in answers)) >= enough:
        return f"{count} of {len(answers)} answers are JSON."
    labels = Counter(label for answer in answers for label in _labels(answer))
    shared = sorted(label for label, count in labels.items() if count >= enough)
    if len(shared) >= MIN_LABELS:
        return f"Most of {len(answers)} answers have lines that begin with {', '.join(shared[:3])}."
    asked = [found[0] for item in items if (found := _ASKED.search(_system(item)))]
    if len(asked) >= enough:
        return f"The system prompts of {len(asked)} texts ask for {asked[0].upper()}."
    return None


def _labels(answer: str) -> set[str]:
    return {found.lower() for found in _LABEL.findall(answer[:MAX_SEARCHED_CHARACTERS])}


def json_value(answer: str) -> dict[str, Any] | list[Any] | None:
    """Return the object or array that an answer is, bare or fenced as code; None where it is none."""
    text = answer.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if not text.startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _answer(item: TextItem) -> str | None:
    return item.messages[-1]["content"] if item.messages is not None else item.completion


def _system(item: TextItem) -> str:
    return next((message["content"] for message in item.messages or () if message["role"] == "system"), "")
