"""A line on standard error that says how far a command is: redrawn on a terminal, elsewhere printed now and then."""

from __future__ import annotations

import shutil
import sys
import time

EVERY = 10.0  # seconds between lines, where they are not redrawn
FASTEST = 0.1  # seconds between drawings


class ProgressLine:
    """Shows words and the share that is done."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._began = time.monotonic()
        self._shown = float("-inf")
        self._width = 0

    def seconds(self) -> float:
        """Return how long it has gone on."""
        return time.monotonic() - self._began

    def show(self, words: str, share: float) -> None:
        """Show the words, unless that was done only just now."""
        now = time.monotonic()
        if now - self._shown < (FASTEST if self._live else EVERY) and share < 1:
            return
        self._shown = now
        if not self._live:
            print(words, file=sys.stderr, flush=True)
            return
        room = shutil.get_terminal_size().columns - 1
        line = words if len(words) <= room else f"{words[: room - 3]}..."
        print(f"\r{line:<{min(self._width, room)}}", end="", file=sys.stderr, flush=True)
        self._width = len(line)

    def close(self) -> None:
        """End the line."""
        if self._live and self._width:
            print(file=sys.stderr)


def duration(seconds: float) -> str:
    """Say how long it is, to the minute where it is long."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
