"""What is compared: the questions of a file of recorded answers, and whether each was trained on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from core.errors import InvalidInput
from core.recording.answers import HELD_OUT, rows_of
from core.references.files import texts
from core.references.items import TextItem
from core.settings import Settings
from core.text_safety import shown

TRAINED_ITEMS = Path("work/references/items.jsonl")  # beside an adapter that `albatross train` made
TOOLS = "questions with tools"  # why rows of them are passed over: answers are compared as words
Chat = tuple[tuple[str, str], ...]  # role and content of each message


class Group(StrEnum):
    """What the new model has to do with a question."""

    HELD_OUT = "held out"  # it was never trained on it
    TRAINED = "trained on"
    UNKNOWN = "not known whether trained on"


@dataclass
class Question:
    """The messages before the answer, the recorded answers, and what the new model has to do with them."""

    asked: Chat
    group: Group
    answers: list[str] = field(default_factory=list)

    def messages(self, answer: str | None = None) -> list[dict[str, str | int]]:
        """Return the chat as a backbone takes it; with an answer, only that is learned."""
        told: list[dict[str, str | int]] = [
            {"role": role, "content": content} | ({"weight": 0} if role == "assistant" else {})
            for role, content in self.asked
        ]
        return told if answer is None else [*told, {"role": "assistant", "content": answer}]

    def order(self) -> str:
        """A key that puts questions in an order which nobody chose, the same in every run."""
        return hashlib.sha256(json.dumps(self.asked).encode()).hexdigest()


@dataclass(frozen=True)
class Questions:
    """All questions, how many lines are not compared and why, and how it is known what was trained on."""

    items: list[Question]
    passed_over: Counter[str]
    known_from: str


def read_questions(path: Path, trained: Path | None, adapter: Path, settings: Settings) -> Questions:
    """Read a file of answers. What was trained on is what stands in `trained`, in the folder that `albatross train`
    left beside the adapter, or else what the file does not mark as held out.
    """
    if trained is None:
        trained = next((file for up in (adapter, adapter.parent) if (file := up / TRAINED_ITEMS).is_file()), None)
    learned = _trained(trained, settings) if trained else None
    found: dict[Chat, Question] = {}
    passed_over: Counter[str] = Counter()
    marked = False
    for row in rows_of(path):
        asked, answer, mark = _parts(row)
        if mark not in (None, HELD_OUT) or not asked:
            passed_over[mark or "not a question with an answer"] += 1
            continue
        question = found.setdefault(asked, Question(asked, Group.HELD_OUT))
        question.answers.append(answer)
        marked = marked or mark == HELD_OUT
        if asked in learned if learned is not None else mark is None:  # of one answer is enough
            question.group = Group.TRAINED
    if not found:
        raise InvalidInput(f"{shown(path.name)} holds no answer to compare with.", code="no_answers")
    if learned is None and not marked:  # then nothing says what was trained on
        for question in found.values():
            question.group = Group.UNKNOWN
    marks = "known from the marks of the file" if marked else "not known"
    how = f"known from {shown(str(trained))}" if trained else marks
    return Questions(list(found.values()), passed_over, how)


def chosen(questions: Sequence[Question], limit: int) -> list[Question]:
    """Return at most `limit` questions of each group (0: all), drawn by their order."""
    kept: list[Question] = []
    for group in Group:
        own = sorted((question for question in questions if question.group is group), key=Question.order)
        kept += own[: limit or None]
    return kept


def _trained(path: Path, settings: Settings) -> frozenset[Chat]:
    items = texts.read_jsonl(path.read_bytes(), shown(path.name), settings).items
    asked = frozenset(_asked(item)[0] for item in items) - {()}
    if not asked:
        raise InvalidInput(f"{shown(path.name)} holds no question with an answer.", code="no_answers")
    return asked


def _parts(row: dict[str, object]) -> tuple[Chat, str, str | None]:
    """Return question, answer and mark; no question where the row can't be compared."""
    try:
        mark = texts.left_out(row)
        if mark not in (None, HELD_OUT):
            return (), "", mark
        item = texts.shaped(row)
        return ((), "", TOOLS) if item.uses_tools else (*_asked(item), mark)
    except ValueError:
        return (), "", None


def _asked(item: TextItem) -> tuple[Chat, str]:
    """Return question and answer; of a plain text, and of a chat with tools, there is no question."""
    if item.uses_tools:
        return (), ""
    if item.messages is not None:
        told = tuple((message["role"], message["content"]) for message in item.messages)
        return told[:-1], told[-1][1]
    if item.prompt is not None:
        return (("user", item.prompt),), item.completion or ""
    return (), ""
