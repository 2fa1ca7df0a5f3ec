"""A line that says how far a command is: redrawn on a terminal, elsewhere printed now and then."""

from __future__ import annotations

import shutil
import sys
import time

MAX_SILENCE = 60.0  # seconds between lines at most, where they are not redrawn
FASTEST = 0.1  # seconds between drawings
WIDTH = 24  # characters of a bar


class ProgressLine:
    """Shows words and the share that is done: where nothing is redrawn, each tenth of a stage and at least each minute.

    It goes to standard error, or to standard output if that is what the command is for.
    """

    def __init__(self, *, on_output: bool = False) -> None:
        self._stream = sys.stdout if on_output else sys.stderr
        self._live = self._stream.isatty()
        self._began = time.monotonic()
        self._shown_at = float("-inf")
        self._shown: tuple[str, int] | None = None  # the stage and how many tenths of it
        self._width = 0

    def seconds(self) -> float:
        """Return how long it has gone on."""
        return time.monotonic() - self._began

    def show(self, words: str, share: float, stage: str = "") -> None:
        """Show the words, unless that was done only just now; a new stage begins a new line."""
        now, place = time.monotonic(), (stage, int(10 * share))
        begins = self._shown is None or stage != self._shown[0]
        silent = now - self._shown_at
        due_live = begins or share >= 1 or silent >= FASTEST
        due_in_log = place != self._shown or silent >= MAX_SILENCE
        if not (due_live if self._live else due_in_log):
            return
        if begins:
            self.close()
        self._shown_at, self._shown = now, place
        if self._live:
            self._draw(words)
        else:
            self._print(words)

    def say(self, words: str) -> None:
        """Print a message above the line."""
        self._print(f"\r{words:<{self._width}}" if self._live else words)
        self._width = 0

    def close(self, words: str = "") -> None:
        """End the line, with a last word if there is one."""
        if self._live and self._width:
            self._print("")
            self._width = 0
        if words:
            self._print(words)

    def _draw(self, words: str) -> None:
        room = shutil.get_terminal_size().columns - 1
        line = words if len(words) <= room else f"{words[: room - 3]}..."
        print(f"\r{line:<{min(self._width, room)}}", end="", file=self._stream, flush=True)
        self._width = len(line)

    def _print(self, words: str) -> None:
        print(words, file=self._stream, flush=True)


def bar(share: float) -> str:
    """Draw the share that is done."""
    filled = round(min(1.0, share) * WIDTH)
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}]"


def duration(seconds: float) -> str:
    """Say how long it is, to the minute where it is long."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
