"""Counts and times what a backbone computes, by kind of work: from it the cost of other jobs is foretold.

A unit is a sample for images and a token, padding included, for texts: what the time of a pass grows with. A GPU
computes long after a block of ours has ended, so what is timed there is its queue: each block leaves a mark in it where
it begins and where it ends, nobody waits for these, and they are read when the counts are asked for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

Kind = Literal["load", "encode", "step", "evaluation", "gradient", "score", "sample"]
MOST_UNREAD = 256  # blocks; beyond these the ones that the device is through with are read


class Mark:
    """A moment of the host."""

    def __init__(self) -> None:
        self._at = time.perf_counter()

    def passed(self) -> bool:
        """Tell whether the moment is over, without waiting for it."""
        return True

    def seconds_to(self, later: Mark) -> float:
        """Return the seconds between two moments, and wait for the later one."""
        return later._at - self._at


class DeviceMark(Mark):
    """A moment of the GPU: when it comes to this place of its queue."""

    def __init__(self) -> None:
        super().__init__()
        self._event = torch.cuda.Event(enable_timing=True)
        self._event.record()

    def passed(self) -> bool:
        return bool(self._event.query())

    def seconds_to(self, later: Mark) -> float:
        if not isinstance(later, DeviceMark):
            return super().seconds_to(later)
        later._event.synchronize()
        return float(self._event.elapsed_time(later._event)) / 1000


def mark() -> Mark:
    """Mark this moment: in the GPU's queue once something was computed on one, else on the host."""
    return DeviceMark() if torch.cuda.is_initialized() else Mark()


@dataclass
class Amount:
    """Work of one kind: how often, how much, and how long it took (`cpu` over all threads)."""

    calls: int = 0
    units: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


@dataclass
class Profiler:
    """All work since `begin`, and facts that were learnt on the way."""

    facts: dict[str, Any] = field(default_factory=dict)
    marked: Callable[[], Mark] = mark
    _kinds: dict[str, Amount] = field(default_factory=dict)
    _unread: deque[tuple[Amount, Mark, Mark]] = field(default_factory=deque)

    @property
    def kinds(self) -> dict[str, Amount]:
        """The work by kind; waits for a GPU that is not through with it."""
        while self._unread:
            self._read()
        return self._kinds

    def begin(self) -> None:
        """Forget what was counted."""
        self._kinds, self.facts = {}, {}
        self._unread.clear()

    @contextmanager
    def timed(self, kind: Kind, units: int, calls: int = 1) -> Iterator[None]:
        """Count the work of a block; one that raises is not counted."""
        began, cpu = self.marked(), time.process_time()
        yield
        amount = self._kinds.setdefault(kind, Amount())
        amount.calls, amount.units = amount.calls + calls, amount.units + units
        amount.cpu += time.process_time() - cpu
        self._unread.append((amount, began, self.marked()))
        while len(self._unread) > MOST_UNREAD and self._unread[0][-1].passed():
            self._read()

    def _read(self) -> None:
        amount, began, ended = self._unread.popleft()
        amount.seconds += began.seconds_to(ended)
