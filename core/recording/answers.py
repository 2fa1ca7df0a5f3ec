"""Recorded answers: one JSON line each, which an upload takes as it stands and leaves out what it should not learn."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import text_safety
from core.errors import InvalidInput
from core.recording.prompts import Message, Prompt
from core.references.files.texts import MAX_LINE_CHARACTERS, RECORDED, unlearnable

HELD_OUT = "held_out"
# Why an answer is left out of training; its owner takes the mark away to train on it after all.
REASONS: Mapping[str, str] = {
    HELD_OUT: "held out to compare with",
    "cut": "cut at the limit of tokens",
    "filtered": "stopped by a filter",
    "refusal": "refusals",
    "empty": "empty",
    "not_learned": "of a kind that is not learned here (see `why`)",
}
ASKED_AGAIN = ("cut", "filtered", "refusal", "empty")  # on request: another try may do better
# What OpenAI's models say when they refuse; longer answers that begin so mostly go on to help.
_REFUSAL = re.compile(
    r"\W*(?:(?:i['\u2019]m |i am )?(?:very |so )?sorry,?(?: but)? )?(?:i|we) ?"
    r"(?:can['\u2019]?t|cannot|can not|(?:['\u2019]m|am|are) (?:unable|not able) to|won['\u2019]t) "
    r"(?:assist|help(?! but)|comply|provide|fulfil|discuss|answer|do that)",
    re.IGNORECASE,
)
MAX_REFUSAL = 160  # characters
MAX_REASON = 300  # characters
TRAINED_ON_TOO = ("tools", "functions")  # beside the messages, as OpenAI's files have them


@dataclass(frozen=True)
class Answer:
    """What a model said to a prompt, and how it came about."""

    prompt: Prompt
    sample: int  # which of --n
    message: Message  # the assistant's, as the endpoint gave it, without what is null
    finish_reason: str
    model: str  # that was asked
    answered_by: str  # what the endpoint says answered
    tokens_in: int
    tokens_out: int
    at: str  # ISO 8601, UTC
    seconds: float
    settings: Mapping[str, Any]  # temperature, max_tokens, seed, as far as given
    reasoning: str | None = None  # what the endpoint says of how the model came to it

    def line(self, held_out: bool) -> tuple[bytes, Mapping[str, Any]]:
        """Return the line of the file, and what it says of the recording.

        It is in OpenAI's training shape; `recorded` says where the answer comes from, whether its prompt is held out,
        and whether, and why, it is left out of training.
        """
        beside = {name: value for name, value in self.prompt.settings.items() if name in TRAINED_ON_TOO}
        learned = {"messages": [*self.prompt.messages, self.message], **beside}
        mark, why = self._mark(learned, held_out)
        recorded = self._recorded() | {"held_out": held_out}
        line = _clean_line({**learned, RECORDED: {**recorded, "left_out": mark}})
        if len(line.decode()) > MAX_LINE_CHARACTERS and mark in (None, HELD_OUT):
            mark, why = "not_learned", f"it has more than {MAX_LINE_CHARACTERS:,} characters as a line"
        recorded |= {"left_out": mark} | ({"why": why.replace('"', "'")[:MAX_REASON]} if why else {})
        return _clean_line({**learned, RECORDED: recorded}) + b"\n", recorded

    def _recorded(self) -> dict[str, Any]:
        sent = {name: value for name, value in self.prompt.settings.items() if name not in TRAINED_ON_TOO}
        return {
            "prompt": self.prompt.key,
            "sample": self.sample,
            "model": self.model,
            "answered_by": self.answered_by,
            "finish_reason": self.finish_reason,
            "usage": {"prompt_tokens": self.tokens_in, "completion_tokens": self.tokens_out},
            "at": self.at,
            "seconds": self.seconds,
            **self.settings,
            **({"sent": sent} if sent else {}),
            **({"reasoning": self.reasoning} if self.reasoning else {}),
        }

    def _mark(self, learned: Mapping[str, Any], held_out: bool) -> tuple[str | None, str | None]:
        said = str(self.message.get("content") or "")
        if self.finish_reason == "length":
            return "cut", None
        if self.finish_reason == "content_filter":
            return "filtered", None
        if self.message.get("refusal") or refuses(said):
            return "refusal", None
        if not self.message.get("tool_calls") and not self.message.get("function_call") and not said.strip():
            return "empty", None
        if why := unlearnable(learned):
            return "not_learned", why
        return (HELD_OUT, None) if held_out else (None, None)


def refuses(said: str) -> bool:
    """Tell whether an answer is a refusal in the usual words and nothing else."""
    short = said.strip()
    return len(short) <= MAX_REFUSAL and _REFUSAL.match(short) is not None


def is_held_out(key: str, share: float) -> bool:
    """Tell whether a prompt is one of the share that is held out: by its hash, so the same in every run."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) < share * 16**8


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file of answers; of an answer that was asked for again the last counts.

    Lines of other chats (with no `recorded`) are taken too: then their answers are what is compared with.
    Raises InvalidInput that names the line.
    """
    kept: dict[object, dict[str, Any]] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            row = parsed(line)
            if row is None:
                message = f"Line {number} of {text_safety.shown(path.name)} is not a JSON object."
                raise InvalidInput(message, code="not_answers")
            recorded = recording(row)
            kept[(recorded["prompt"], recorded["sample"]) if recorded else number] = row
    yield from kept.values()


def parsed(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a line is; None where it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def recording(row: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what a row says of its recording; None where it is no recorded answer."""
    recorded = (row or {}).get(RECORDED)
    if not isinstance(recorded, dict) or not isinstance(recorded.get("prompt"), str):
        return None
    return recorded if isinstance(recorded.get("sample"), int) else None


def _clean_line(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line that every reader takes: characters that are no clean text are escaped."""
    line = text_safety.UNCLEAN.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(row, ensure_ascii=False, allow_nan=False)
    )
    try:
        text_safety.decode(line.encode())
    except text_safety.UncleanText:  # letters with too many marks
        line = json.dumps(row)
    return line.encode()
