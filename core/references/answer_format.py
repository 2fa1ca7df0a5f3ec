"""Whether answers share a shape, as JSON or labelled lines do: then that shape is what their owner wants learned."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.references.chats import learned, said
from core.references.items import TextItem
from core.references.tools import calls

MIN_SHARE_OF_ANSWERS = 0.8  # of the answers
MIN_ANSWERS = 2
MIN_LABELS = 2
MIN_MARKS = 2  # lines of a list
NAMED = 3  # keys or labels that a sentence names
BULLETS, TEXT_LINE = "-*•", "text"
MAX_SEARCHED_CHARACTERS = 4_000  # of an answer are searched for labels
# One class for all that may stand before a label: two in a row that both take stars try every split of a line of them.
_LABEL = re.compile(r"^[-*# \t]*([A-Za-z][\w -]{0,30}?)\**:", re.MULTILINE)
_NUMBERED = re.compile(r"\d{1,2}[.)]\s")
_ASKED = re.compile(r"\b(json|yaml|xml|csv|markdown table|html|sql|schema)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Shape:
    """What most of the answers have in common, and with that what a valid answer is."""

    sentence: str  # says it to a person
    fits: Callable[[str], bool] | None  # tells of an answer whether it is valid; None where that can't be read off


def shape(items: Sequence[TextItem]) -> str | None:
    """Say which shape most of the answers have, as a sentence; None where they have none."""
    found = read_shape(items)
    return found.sentence if found else None


def read_shape(items: Sequence[TextItem]) -> Shape | None:
    """Return the shape that most of the answers have; None where they have none."""
    answers = [answer for item in items if (answer := answer_of(item))]
    if len(answers) < MIN_ANSWERS:
        return None
    enough = MIN_SHARE_OF_ANSWERS * len(answers)
    asked = [found[0] for item in items if (found := _ASKED.search(_system(item)))]
    return (
        _calling(items, len(answers), enough)
        or _json_shape(answers, enough)
        or _labelled(answers, enough)
        or _listed(answers, enough)
        or (
            Shape(f"The system prompts of {len(asked)} texts ask for {asked[0].upper()}.", None)
            if len(asked) >= enough
            else None
        )
    )


def _calling(items: Sequence[TextItem], answers: int, enough: float) -> Shape | None:
    """Return the shape of answers that are calls of functions; a valid one calls any of them."""
    last = [item.messages[last_answer(item)] for item in items if item.messages is not None]
    called = [
        {call["function"]["name"] for call in message["tool_calls"]} for message in last if "tool_calls" in message
    ]
    if not called or len(called) < enough:
        return None
    names = sorted(set().union(*called))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    sentence = f"{len(called)} of {answers} answers call functions: {', '.join(names[:NAMED])}{more}."
    return Shape(sentence, lambda answer: calls.stands_in(answer, names))


def _json_shape(answers: Sequence[str], enough: float) -> Shape | None:
    values = [value for answer in answers if (value := json_value(answer)) is not None]
    if len(values) < enough:
        return None
    keys = Counter(key for value in values if isinstance(value, dict) for key in value)
    wanted = {key for key, count in keys.items() if count >= enough}

    def fits(answer: str) -> bool:
        value = json_value(answer)
        return value is not None and (not wanted or (isinstance(value, dict) and wanted <= value.keys()))

    with_keys = f" with {', '.join(sorted(wanted)[:NAMED])}" if wanted else ""
    return Shape(f"{len(values)} of {len(answers)} answers are JSON{with_keys}.", fits)


def _labelled(answers: Sequence[str], enough: float) -> Shape | None:
    labels = Counter(label for answer in answers for label in _labels(answer))
    shared = sorted(label for label, count in labels.items() if count >= enough)
    if len(shared) < MIN_LABELS:
        return None
    sentence = f"Most of {len(answers)} answers have lines that begin with {', '.join(shared[:NAMED])}."
    return Shape(sentence, lambda answer: _labels(answer).issuperset(shared))


def _listed(answers: Sequence[str], enough: float) -> Shape | None:
    """Return the shape of answers that are lists with the same kinds of lines in the same order."""
    (common, count), *_ = Counter(map(_kinds_of_lines, answers)).most_common(1)
    marks = sum(kind != TEXT_LINE for kind in common)
    if count < enough or marks < MIN_MARKS:
        return None
    sentence = f"{count} of {len(answers)} answers are lists of {marks} points in {len(common)} lines."
    return Shape(sentence, lambda answer: _kinds_of_lines(answer) == common)


def _kinds_of_lines(answer: str) -> tuple[str, ...]:
    """Return what each line that is not empty begins with: a number, a bullet, or neither."""
    lines = [line.strip() for line in answer[:MAX_SEARCHED_CHARACTERS].split("\n") if line.strip()]
    return tuple("number" if _NUMBERED.match(line) else line[0] if line[0] in BULLETS else TEXT_LINE for line in lines)


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


def answer_of(item: TextItem) -> str | None:
    """Return what a text answers with, of several answers the last that is learned; None where it is a plain text.

    Calls of functions are lines of JSON.
    """
    return said(item.messages[last_answer(item)]) if item.messages is not None else item.completion


def last_answer(item: TextItem) -> int:
    """Return the place of the last message of a chat that is learned: those after it have the weight 0."""
    messages = item.messages or ()
    return max((place for place, message in enumerate(messages) if learned(message)), default=-1)


def _system(item: TextItem) -> str:
    return next((message["content"] for message in item.messages or () if message["role"] == "system"), "")
