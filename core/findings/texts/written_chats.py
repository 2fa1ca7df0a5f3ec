"""What a backbone's chat template has made of chats: what was changed so that it takes them, and what it leaves out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.findings.finding import Finding, Severity

MAX_NAMED = 5  # texts in one sentence
ASK_ALIKE = "Nothing needs to be done, but ask the adapter in the same way."
# by the words of core.method.backbones.texts.fitting
CHANGED: Mapping[str, tuple[str, str]] = {
    "joined turns": (
        "turns_joined",
        "The backbone's chat template takes no messages of the same role one after the other; they are joined, with a "
        "blank line between them, in {}.",
    ),
    "system turned into a question": (
        "system_moved",
        "The backbone's chat template takes a system prompt at the beginning of a chat only; a later one is written as "
        "the user's words in {}.",
    ),
    "system in the question": (
        "system_moved",
        "The backbone's chat template would leave out the system prompt; it is written in front of what the user says "
        "first in {}.",
    ),
    "words beside a call": (
        "words_beside_calls",
        "The backbone's chat template writes of an answer that calls a tool the call only; what is said beside it is "
        "left out in {}.",
    ),
    "one call a message": (
        "calls_split",
        "The backbone's chat template takes one call of a tool in a message; of several each has a message of its own, "
        "with its result after it, in {}.",
    ),
    "last calls left out": (
        "calls_left_out",
        "The backbone's chat template takes one call of a tool in a message; of several that end a chat the first "
        "alone is learned in {}.",
    ),
}
LOST: Mapping[str, str] = {
    "calls_left_out": "To learn the others too, give each a message of its own with its result after it, or choose a "
    "backbone whose chat template takes several."
}


@dataclass(frozen=True)
class WrittenChat:
    """How a chat was written: keys of CHANGED, and how many answers that were to be learned cannot be."""

    changes: Collection[str]
    left: int = 0


def findings(chats: Sequence[WrittenChat]) -> Iterator[Finding]:
    """Say what has become of chats that the template takes in another form only."""
    for change, (code, sentence) in CHANGED.items():
        if names := [f"text {number}" for number, chat in enumerate(chats, 1) if change in chat.changes]:
            severity: Severity = "warn" if code in LOST else "info"
            yield Finding(code, sentence.format(_some(names)), LOST.get(code, ASK_ALIKE), names[0], severity=severity)
    if left := [(f"text {number}", chat.left) for number, chat in enumerate(chats, 1) if chat.left]:
        count = sum(number for _, number in left)
        answers = "1 answer is" if count == 1 else f"{count:,} answers are"
        yield Finding(
            "answers_rewritten",
            f"{answers} read and not learned: the backbone's chat template writes {'it' if count == 1 else 'them'} "
            "otherwise in these chats than a model answers, for instance without the thought, in "
            f"{_some([name for name, _ in left])}.",
            "To learn such an answer, write the chat up to it as a row of its own. A thought that the template leaves "
            "out there too can't be learned: take it out of the answer.",
            left[0][0],
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")
