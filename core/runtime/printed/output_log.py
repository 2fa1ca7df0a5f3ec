"""What another process prints, logged as far as it is known to hold nothing that people sent; the rest is counted.

The process reads what strangers upload, and may have been taken over: its words are judged, never trusted, and neither
their number nor their length may fill a log or this process's memory.
"""

from __future__ import annotations

import logging
import os
import queue
import selectors
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from core.runtime.printed.kept_output import KeptOutput
from core.runtime.printed.known_code import KnownCode
from core.runtime.printed.known_lines import KnownLines

log = logging.getLogger(__name__)
# what is said of an entry and of a count; whole, so that whoever reads a log finds it here
SENTENCES = {
    "trainer": ("the trainer says:\n%s", "the trainer printed %d lines, %d bytes, that are not repeated here"),
    "decoder": ("the decoder says:\n%s", "the decoder printed %d lines, %d bytes, that are not repeated here"),
}
QUIET_SECONDS = 0.2  # what comes together is one entry, so that a dump stays whole
MAX_SECONDS = 1.0
MAX_BYTES = 1 << 16
MAX_LINE = 2048
REST = 4.0  # times as long as it took to judge what came: a flood holds up whoever prints it, not this process
LONG_SECONDS = 0.01
BUDGET_BYTES, BUDGET_SECONDS = 1 << 18, 3600.0  # that are repeated, of a job and within an hour; a long dump has 60 KB
COUNT_SECONDS, MAX_COUNT_SECONDS = 60.0, 3600.0  # from a line that is not repeated until the count is told


@dataclass(frozen=True)
class About:
    """What the process works on."""

    job: str = ""
    kept: KeptOutput | None = None  # where all that it prints goes, if anywhere


class OutputLog:
    """Logs the standard error of a process: `name` is what it is called in SENTENCES."""

    def __init__(self, stream: IO[Any], name: str, code: KnownCode) -> None:
        self._stream, self._name, self._code = stream, name, code
        self._orders: queue.SimpleQueue[About] = queue.SimpleQueue()
        self._woken, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._relay, name=f"output of the {name}", daemon=True)
        self._thread.start()

    def begin(self, about: About) -> None:
        """Take what comes from now on as printed for this work."""
        self._orders.put(about)
        with suppress(OSError):  # it has ended, and prints nothing any more
            self._wake.send(b".")

    def end(self, seconds: float = MAX_SECONDS) -> None:
        """Wait until the last words are logged; the process must have ended."""
        self._thread.join(seconds)

    def _relay(self) -> None:
        told, goes_on = self._told(About()), True
        with self._stream as stream, self._woken, self._wake, selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while goes_on:
                ready = [key.fileobj for key, _ in selector.select(told.seconds_left())]
                if stream in ready:
                    goes_on = _take(os.read(stream.fileno(), MAX_BYTES), told)
                if self._woken in ready:
                    self._woken.recv(MAX_BYTES)
                    told = self._obey(told)
                told.log_what_is_due(quiet=not ready)
            self._obey(told).end()

    def _told(self, about: About) -> _Told:
        return _Told(self._name, KnownLines(self._code), about)

    def _obey(self, told: _Told) -> _Told:
        while not self._orders.empty():
            told.end()
            told = self._told(self._orders.get())
        return told


def _take(part: bytes, told: _Told) -> bool:
    """Judge what has come; False at the end of all."""
    began = time.monotonic()
    told.take(part)
    spent = time.monotonic() - began
    if spent > LONG_SECONDS:
        time.sleep(REST * spent)
    return bool(part)


class _Told:
    """What was printed for one piece of work: an entry that is being put together, and a count of the rest."""

    def __init__(self, name: str, known: KnownLines, about: About) -> None:
        self.about = about
        self._says, self._counts = SENTENCES[name]
        self._known = known
        self._line, self._cut = b"", False  # the line that has not ended, and whether its rest is thrown away
        self._entry: list[str] = []
        self._entry_bytes, self._trouble, self._began = 0, False, 0.0
        self._left, self._refill_at = BUDGET_BYTES, time.monotonic() + BUDGET_SECONDS
        self._lines = self._bytes = 0
        self._count_seconds, self._count_at = COUNT_SECONDS, 0.0

    def seconds_left(self) -> float | None:
        """Return how long to wait for more at most."""
        if self._entry:
            return QUIET_SECONDS
        return max(0.0, self._count_at - time.monotonic()) if self._lines else None

    def take(self, part: bytes) -> None:
        """Read what has come; of a line that is too long only the length is known."""
        if self.about.kept is not None and part:
            self.about.kept.write(part)
        *ended, rest = part.split(b"\n")
        for line in ended:
            self._judge(self._line + line)
            self._line, self._cut = b"", False
        if self._cut or len(self._line) + len(rest) > MAX_LINE:
            self._bytes += len(self._line) + len(rest)
            self._line, self._cut = b"", True
        else:
            self._line += rest

    def log_what_is_due(self, *, quiet: bool) -> None:
        """Log the entry when it is whole, and the count when its time has come."""
        now = time.monotonic()
        if self._entry and (quiet or now - self._began > MAX_SECONDS or self._entry_bytes >= MAX_BYTES):
            self._log_entry()
        if self._lines and now >= self._count_at:
            self._log_count()
        if now > self._refill_at:
            self._left, self._refill_at = BUDGET_BYTES, now + BUDGET_SECONDS

    def end(self) -> None:
        """Log all that is left."""
        if self._line or self._cut:
            self._judge(self._line)
        self._log_entry()
        self._log_count()
        if self.about.kept is not None:
            self.about.kept.close()

    def _judge(self, line: bytes) -> None:
        whole = len(line) <= MAX_LINE and not self._cut
        text = line.decode(errors="replace").rstrip("\r") if whole else ""
        if whole and not text.strip():
            return
        found = self._known.repeated(text) if whole else None
        if found is None or len(found.text) > self._left:
            self._count(len(line) + 1)
        elif found.text:
            self._began = self._began if self._entry else time.monotonic()
            self._entry.append(found.text)
            self._entry_bytes += len(found.text) + 1
            self._left -= len(found.text) + 1
            self._trouble |= found.trouble

    def _count(self, length: int) -> None:
        if not self._lines:
            self._count_at = time.monotonic() + self._count_seconds
        self._lines += 1
        self._bytes += length

    def _log_entry(self) -> None:
        if self._entry:
            level = logging.WARNING if self._trouble else logging.INFO
            self._log(level, self._says, "\n".join(self._entry))
        self._entry, self._entry_bytes, self._trouble = [], 0, False

    def _log_count(self) -> None:
        if self._lines:
            self._log(logging.INFO, self._counts, self._lines, self._bytes)
            self._count_seconds = min(2 * self._count_seconds, MAX_COUNT_SECONDS)
        self._lines = self._bytes = 0

    def _log(self, level: int, words: str, *values: object) -> None:
        log.log(level, words, *values, extra={"job": self.about.job} if self.about.job else None)
