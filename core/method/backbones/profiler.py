"""Counts and times what a backbone computes, by kind of work: from it the cost of other jobs is foretold.

A unit is a sample for images and a token, padding included, for texts: what the time of a pass grows with.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["load", "encode", "step", "evaluation", "gradient", "score", "sample"]


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

    kinds: dict[str, Amount] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget what was counted."""
        self.kinds, self.facts = {}, {}

    @contextmanager
    def timed(self, kind: Kind, units: int, calls: int = 1) -> Iterator[None]:
        """Count the work of a block; one that raises is not counted."""
        began, cpu = time.perf_counter(), time.process_time()
        yield
        amount = self.kinds.setdefault(kind, Amount())
        amount.calls, amount.units = amount.calls + calls, amount.units + units
        amount.seconds += time.perf_counter() - began
        amount.cpu += time.process_time() - cpu
