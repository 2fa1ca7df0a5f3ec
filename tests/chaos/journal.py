"""What was done when: a log for people, and the spans of time in which something was broken."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# a restart goes on hurting for a moment after it is over: connections are opened anew, retries wait for their turn
AFTERMATH = 2.0


@dataclass
class Span:
    """A time in which something was broken, in unix seconds; `part` is what was broken."""

    kind: str
    part: str
    began: float
    ended: float = float("inf")

    def overlap(self, began: float, ended: float) -> float:
        """Return how long it and another time are the same, in seconds."""
        return max(0.0, min(ended, self.ended + AFTERMATH) - max(began, self.began))


@dataclass
class Journal:
    """Writes lines with seconds since the start, and remembers spans and figures that troubles measured."""

    path: Path
    quiet: bool = False
    spans: list[Span] = field(default_factory=list)
    figures: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = time.time()
        self._lock = threading.Lock()
        self._file = self.path.open("a", buffering=1)

    def say(self, words: str) -> None:
        """Write one line."""
        line = f"{time.time() - self.began:8.2f}  {words}"
        with self._lock:
            self._file.write(line + "\n")
            if not self.quiet:
                print(line, flush=True)

    def note(self, name: str, **figure: object) -> None:
        """Remember what a trouble measured."""
        with self._lock:
            self.figures.setdefault(name, []).append({"at": time.time(), **figure})
        self.say(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figure.items()))

    def noted(self, name: str) -> list[dict[str, object]]:
        """Return all figures of a name."""
        return self.figures.get(name, [])

    @contextmanager
    def span(self, kind: str, part: str) -> Iterator[Span]:
        """Log a trouble from its beginning to its end."""
        mine = Span(kind, part, time.time())
        self.spans.append(mine)
        self.say(f"begin {kind}")
        try:
            yield mine
        finally:
            mine.ended = time.time()
            self.say(f"end   {kind}")

    def disturbed(self, began: float, ended: float, parts: Collection[str] | None = None) -> float:
        """Return how many seconds of a time something of these parts (or anything) was broken."""
        edges = sorted(
            (max(began, span.began), min(ended, span.ended + AFTERMATH))
            for span in self.spans
            if (parts is None or span.part in parts) and span.overlap(began, ended) > 0
        )
        total, reached = 0.0, began
        for start, end in edges:
            total += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return total

    def close(self) -> None:
        """Write no more."""
        self._file.close()
