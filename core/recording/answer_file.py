"""The file of answers while it is recorded: it survives a kill and a full disk, and is never anybody else's."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from core import text_safety
from core.disk import PRIVATE, sync
from core.errors import AlbatrossError, Conflict, InvalidInput
from core.recording.answers import Answer, is_held_out, parsed, recording

BEGIN = b'{"messages": ['  # of a line that is written here
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class Recorded:
    """What is recorded: by prompt and sample why it is left out of training, by prompt whether it is held out."""

    done: dict[tuple[str, int], str | None] = field(default_factory=dict)
    held_out: dict[str, bool] = field(default_factory=dict)
    tokens_out: int = 0

    def note(self, recorded: Mapping[str, Any]) -> None:
        """Take in what a line says."""
        prompt, mark = recorded["prompt"], recorded.get("left_out")
        self.done[prompt, recorded["sample"]] = str(mark) if mark is not None else None
        self.held_out.setdefault(prompt, recorded.get("held_out") is True)
        usage = recorded.get("usage")
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else 0
        self.tokens_out += tokens if isinstance(tokens, int) else 0


def read_recorded(path: Path, model: str) -> Recorded:
    """Read what is recorded in a file, which may not be there, and change nothing."""
    if not path.exists():
        return Recorded()
    _check_plain(path.stat(), path)
    with path.open("rb") as file:
        return _read(file, path, model)[0]


class AnswerFile:
    """The file, grown by whole lines, each on the disk before the next.

    Opening reads what is there, so that nothing is asked twice. Raises Conflict where another process writes to it,
    and InvalidInput where it holds anything but answers of this model.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.model = path, model
        path.parent.mkdir(parents=True, exist_ok=True)
        self._made = not path.exists()
        if not self._made:
            _check_plain(path.stat(), path)
        self._file = self._locked()
        try:
            with open(self._file, "rb", closefd=False) as file:
                self.recorded, self.bytes, ended = _read(file, path, model)
            os.ftruncate(self._file, self.bytes)  # a line that a kill has cut off
            if self._made:
                sync(path.parent)
            if not ended:
                os.pwrite(self._file, b"\n", self.bytes)
                self.bytes += 1
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._made and not self.bytes:
            self.path.unlink(missing_ok=True)  # nothing was answered; while it is locked, so nobody else writes to it
        os.close(self._file)

    def add(self, answer: Answer, share: float) -> None:
        """Write an answer, which is then safe. Of the prompts, `share` is held out; one stays what it is.

        Raises AlbatrossError "disk_full" (or "not_written") with the file as it was before.
        """
        key = answer.prompt.key
        held_out = self.recorded.held_out.get(key)
        line, recorded = answer.line(is_held_out(key, share) if held_out is None else held_out)
        try:
            os.lseek(self._file, self.bytes, os.SEEK_SET)
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)  # by the descriptor that holds the lock: the file grows in place, line by line
        except OSError as error:
            with suppress(OSError):  # else the next run takes the torn line away
                os.ftruncate(self._file, self.bytes)
            raise self._unwritten(error) from None
        self.bytes += len(line)
        self.recorded.note(recorded)

    def _unwritten(self, error: OSError) -> AlbatrossError:
        full = error.errno in FULL
        what = (
            "The disk is full" if full else f"{text_safety.shown(str(self.path))} can't be written ({error.strerror})"
        )
        message = f"{what}. {len(self.recorded.done)} answers are safe; make room and run the same command again."
        return AlbatrossError(message, code="disk_full" if full else "not_written")

    def _locked(self) -> int:
        """Open the file for this process alone; one that another run has taken away meanwhile is made anew."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, PRIVATE)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self.path.exists() and os.path.samestat(os.fstat(file), self.path.stat()):
                    return file
            except BlockingIOError:
                os.close(file)
                name = text_safety.shown(str(self.path))
                message = f"Another run is recording to {name}; let it end, or take another --out."
                raise Conflict(message, code="already_recording") from None
            os.close(file)


def _read(file: BinaryIO, path: Path, model: str) -> tuple[Recorded, int, bool]:
    """Return what is recorded, the bytes of it that are whole, and whether their last line is ended."""
    found, whole, ended = Recorded(), 0, True
    for number, line in enumerate(file, 1):
        recorded = recording(parsed(line))
        if recorded is None and _torn(line, bool(found.done)):
            break
        if recorded is None and line.strip():
            raise _foreign(path, f"line {number} is no recorded answer")
        if recorded is not None and recorded.get("model") != model:
            raise _foreign(path, f"line {number} is an answer of {text_safety.shown(str(recorded.get('model')))}")
        if recorded is not None:
            found.note(recorded)
        whole, ended = whole + len(line), line.endswith(b"\n")
    return found, whole, ended


def _torn(line: bytes, follows: bool) -> bool:
    """Tell whether a line is what a kill or a lost machine leaves behind whole answers: zeros, or a begun answer."""
    if line.endswith(b"\n") or not follows:
        return False
    begun = line.startswith(BEGIN) or BEGIN.startswith(line)
    return not line.strip(b"\0") or (begun and parsed(line) is None)


def _check_plain(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _foreign(path, "it is no ordinary file")


def _foreign(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{text_safety.shown(str(path))}: {why}; take another --out.", code="not_answers")
