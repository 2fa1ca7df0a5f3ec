"""One promise and what became of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field


@dataclass
class Check:
    """One promise, whether it was kept, and the figures that say so."""

    promise: str
    kept: bool
    words: str
    figures: Mapping[str, object] = field(default_factory=dict)


def table(checks: Sequence[Check]) -> str:
    """Return the checks as lines to read."""
    return "\n".join(f"{'ok  ' if check.kept else 'FAIL'} {check.promise:34} {check.words}" for check in checks)


def figures(checks: Sequence[Check]) -> list[dict[str, object]]:
    """Return the checks as JSON takes them."""
    return [asdict(check) for check in checks]


def spread(times: Sequence[float]) -> str:
    """Return the middle and the longest of some seconds, to read."""
    return f"median {statistics.median(times):.1f} s, longest {max(times):.1f} s" if times else "no times"
