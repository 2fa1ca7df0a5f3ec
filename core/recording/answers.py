"""Recorded answers: one JSON line each, which an upload takes as it stands, in a file that survives a kill."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from core import texts
from core.errors import AlbatrossError, Conflict, InvalidInput
from core.recording.prompts import Message, Prompt
from core.rows import RECORDED, unlearnable

HELD_OUT = "held_out"
# Why an answer is left out of training; its owner takes the mark away to train on it after all.
REASONS: Mapping[str, str] = {
    HELD_OUT: "held out to compare with",
    "cut": "cut at the limit of tokens",
    "filtered": "stopped by a filter",
    "refusal": "refusals",
    "empty": "empty",
    "not_learned": "of a kind that is not learned here",
}
ASKED_AGAIN = ("cut", "filtered", "refusal", "empty")  # on request: another try may do better
# What OpenAI's models say when they refuse; longer answers that begin so mostly go on to help.
_REFUSAL = re.compile(
    r"\W*(?:(?:i['\u2019]m |i am )?(?:very |so )?sorry,?(?: but)? )?(?:i|we) ?"
    r"(?:can['\u2019]?t|cannot|can not|(?:['\u2019]m|am|are) (?:unable|not able) to|won['\u2019]t) "
    r"(?:assist|help(?! but)|comply|provide|fulfil|discuss|answer|do that)", re.IGNORECASE,
)  # fmt: skip
LONGEST_REFUSAL = 160  # characters
BEGIN = b'{"messages": ['  # of a line that this module writes


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

    def row(self, held_out: bool) -> dict[str, Any]:
        """Return the line of the file; `recorded` says where it comes from, and whether it is left out of training."""
        line = {"messages": [*self.prompt.messages, self.message], **self.prompt.settings}
        recorded = {
            "prompt": self.prompt.key, "sample": self.sample, "model": self.model, "answered_by": self.answered_by,
            "finish_reason": self.finish_reason,
            "usage": {"prompt_tokens": self.tokens_in, "completion_tokens": self.tokens_out},
            "at": self.at, "seconds": self.seconds, **self.settings,
        }  # fmt: skip
        mark, why = self._mark(line, held_out)
        return {**line, RECORDED: recorded | {"left_out": mark} | ({"why": why} if why else {})}

    def _mark(self, line: Mapping[str, Any], held_out: bool) -> tuple[str | None, str | None]:
        said = self.message.get("content")
        if self.finish_reason == "length":
            return "cut", None
        if self.finish_reason == "content_filter":
            return "filtered", None
        if self.message.get("refusal") or (isinstance(said, str) and refuses(said)):
            return "refusal", None
        if not self.message.get("tool_calls") and not self.message.get("function_call") and not (said or "").strip():
            return "empty", None
        if why := unlearnable(line):
            return "not_learned", why
        return (HELD_OUT, None) if held_out else (None, None)


def refuses(said: str) -> bool:
    """Tell whether an answer is a refusal in the usual words and nothing else."""
    short = said.strip()
    return len(short) <= LONGEST_REFUSAL and _REFUSAL.match(short) is not None


def is_held_out(key: str, share: float) -> bool:
    """Tell whether a prompt is one of the share that is held out: by its hash, so the same in every run."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) < share * 16**8


class AnswerFile:
    """The file of answers while they are recorded: grown by whole lines, each on the disk before the next.

    Opening reads what is there, so that nothing is asked twice. Raises Conflict where another process writes to it,
    and InvalidInput where it holds anything but answers of this model.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.model = path, model
        self.done: dict[tuple[str, int], str | None] = {}  # (prompt, sample) -> why it is left out
        self.tokens_in = self.tokens_out = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock()
            self.bytes = self._read()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self.bytes:
            self.path.unlink()  # nothing was answered
        os.close(self._file)

    def add(self, answer: Answer, *, held_out: bool) -> str | None:
        """Write an answer, which is then safe; returns why it is left out of training.

        Raises AlbatrossError "disk_full" (or "not_written") with the file as it was before.
        """
        row = answer.row(held_out)
        line = _line(row)
        try:
            os.lseek(self._file, self.bytes, os.SEEK_SET)
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):  # else the next run takes the torn line away
                os.ftruncate(self._file, self.bytes)
            raise self._unwritten(error) from None
        self.bytes += len(line)
        self._note(row[RECORDED])
        return self.done[answer.prompt.key, answer.sample]

    def _unwritten(self, error: OSError) -> AlbatrossError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "The disk is full" if full else f"{texts.shown(str(self.path))} can't be written ({error.strerror})"
        message = f"{what}. {len(self.done)} answers are safe; make room and run the same command again."
        return AlbatrossError(message, code="disk_full" if full else "not_written")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Another run is recording to {texts.shown(str(self.path))}; let it end, or take another --out."
            raise Conflict(message, code="already_recording") from None

    def _read(self) -> int:
        """Note what is recorded; returns the size of what is whole. A line that a kill has cut off is taken away."""
        with open(self._file, "rb", closefd=False) as file:
            whole = 0
            for number, line in enumerate(file, 1):
                recorded = _recorded(line)
                if recorded is None and _torn(line):
                    break
                if recorded is None and line.strip():
                    raise self._foreign(f"line {number} is no recorded answer")
                if recorded is not None and recorded.get("model") != self.model:
                    raise self._foreign(f"line {number} is an answer of {texts.shown(str(recorded.get('model')))}")
                if recorded is not None:
                    self._note(recorded)
                whole += len(line)
            ended = whole == 0 or line.endswith(b"\n") or recorded is None
        os.ftruncate(self._file, whole)
        if not ended:
            os.pwrite(self._file, b"\n", whole)
        return whole if ended else whole + 1

    def _foreign(self, why: str) -> InvalidInput:
        return InvalidInput(f"{texts.shown(str(self.path))}: {why}; take another --out.", code="not_answers")

    def _note(self, recorded: Mapping[str, Any]) -> None:
        self.done[str(recorded["prompt"]), int(recorded["sample"])] = recorded.get("left_out")
        usage = recorded.get("usage") or {}
        self.tokens_in += usage.get("prompt_tokens") or 0
        self.tokens_out += usage.get("completion_tokens") or 0


def _line(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of characters that every reader takes: what is not clean text is escaped."""
    try:
        line = json.dumps(row, ensure_ascii=False).encode()
        texts.decode(line)
    except (UnicodeEncodeError, texts.UncleanText):
        line = json.dumps(row).encode()
    return line + b"\n"


def _torn(line: bytes) -> bool:
    """Tell whether a last line is the begin of an answer, or nothing: what a kill or a lost machine leaves."""
    begun = line.startswith(BEGIN) or BEGIN.startswith(line)
    return not line.endswith(b"\n") and (not line.strip(b"\0") or (begun and _object(line) is None))


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
            row = _object(line)
            if row is None:
                message = f"Line {number} of {texts.shown(path.name)} is not a JSON object."
                raise InvalidInput(message, code="not_answers")
            recorded = _recorded(line)
            kept[(recorded["prompt"], recorded["sample"]) if recorded else number] = row
    yield from kept.values()


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _recorded(line: bytes) -> Mapping[str, Any] | None:
    """Return what a line says of its recording; None where it is no recorded answer."""
    recorded = (_object(line) or {}).get(RECORDED)
    if not isinstance(recorded, dict) or not isinstance(recorded.get("prompt"), str):
        return None
    return recorded if isinstance(recorded.get("sample"), int) else None
