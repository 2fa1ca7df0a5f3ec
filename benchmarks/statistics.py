"""Paired comparisons: every difference is taken within one experiment, and intervals are over clusters of experiments.

A cluster is what shares its luck: the same references at several learning rates, sizes and pools, and sets that share
pictures or texts. Experiments of one cluster are averaged first; what is left is as many values as there are clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import mpmath

Record = dict[str, Any]
Values = Sequence[tuple[Any, float]]  # (cluster, value)
UNIT = ("family", "set", "n", "learning_rate", "seed", "pool")
CONFIDENCE = 0.95
FEWEST = 3  # clusters, below which no interval is given
WIDE = 2.0  # a ratio whose interval reaches further to each side says nothing, and is not given


@dataclass(frozen=True)
class Estimate:
    """A mean over clusters, its 95 % t-interval where there are enough of them, and how much stands behind it."""

    mean: float
    low: float | None
    high: float | None
    clusters: int
    count: int  # experiments
    null: float = 0.0  # the value that says that nothing differs

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out the value that says that nothing differs: p < .05, two-sided."""
        return self.low is not None and self.high is not None and not self.low <= self.null <= self.high

    def text(self, scale: float = 100.0, digits: int = 1, sign: str = "+") -> str:
        """Return "mean [low, high]", in per cent unless told otherwise; the mean alone where there is no interval."""
        numbers = (self.mean, self.low, self.high)
        mean, *ends = (f"{scale * value:{sign}.{digits}f}" for value in numbers if value is not None)
        return f"{mean} [{', '.join(ends)}]" if ends else mean


def unit(record: Record) -> tuple[Any, ...]:
    """Return which experiment a record belongs to."""
    return tuple(record[name] for name in UNIT)


def cluster(record: Record) -> str:
    """Return what a record shares its luck with.

    All sets of the small language model with one seed have the pool's texts and what is new in their language in
    common; files of pictures and texts are the same whatever the seed, and whichever backbone learns them.
    """
    return f"nano {record['seed']}" if record["family"] == "nano" else str(record["set"])


def estimate(values: Values) -> Estimate:
    """Return the mean of the clusters' means with the t-interval of as many degrees of freedom as they leave."""
    means = _means(values)
    middle = fmean(means)
    half = _half_width(means)
    low, high = (None, None) if half is None else (middle - half, middle + half)
    return Estimate(middle, low, high, len(means), len(values))


def ratio(values: Sequence[tuple[Any, float, float]]) -> Estimate | None:
    """Return mean(first) / mean(second) over clusters of (cluster, first, second).

    None where the second is at most 0, or so near to 0 that the interval is wider than WIDE to each side. The interval
    is that of the residuals first - ratio second (the linearised ratio of means), so that single values may be 0 or
    below. 1 says that nothing differs.
    """
    above = _means([(key, first) for key, first, _ in values])
    below = _means([(key, second) for key, _, second in values])
    scale = fmean(below)
    if scale <= 0:
        return None
    middle = fmean(above) / scale
    half = _half_width([(a - middle * b) / scale for a, b in zip(above, below, strict=True)])
    if half is not None and half > WIDE:
        return None
    low, high = (None, None) if half is None else (middle - half, middle + half)
    return Estimate(middle, low, high, len(above), len(values), null=1.0)


def pairs(
    records: Iterable[Record], first: tuple[str, str], second: tuple[str, str], value: Callable[[Record], float]
) -> list[tuple[str, float, float]]:
    """Return (cluster, value of first, value of second) of experiments that have both; each is named by (arm, rule)."""
    found: dict[tuple[Any, ...], dict[tuple[str, str], Record]] = {}
    for record in records:
        name = (record["arm"], record["rule"])
        if name in (first, second):
            found.setdefault(unit(record), {})[name] = record
    both = [pair for pair in found.values() if first in pair and second in pair]
    return [(cluster(pair[first]), value(pair[first]), value(pair[second])) for pair in both]


def paired(
    records: Iterable[Record], first: tuple[str, str], second: tuple[str, str], value: Callable[[Record], float]
) -> Estimate | None:
    """Return value(first) - value(second) over experiments that have both; each is named by (arm, rule)."""
    both = pairs(records, first, second, value)
    return estimate([(key, a - b) for key, a, b in both]) if both else None


def excess(records: Sequence[Record]) -> list[tuple[Record, float]]:
    """Return for every record which share of the achievable improvement its stop gave away, clipped at 2.

    The improvement is at least half of the mean of its family, set and n, so that a run with nothing to gain does not
    decide a mean. 1 is as bad as not adapting. A run that trained on fewer references is held against the plain run.
    """
    plain = {unit(record): record["heldout_best"] for record in records if record["arm"] == "none"}
    drops: dict[tuple[Any, ...], list[float]] = {}
    for record in records:
        place = (record["family"], record["set"], record["n"])
        drops.setdefault(place, []).append(record["heldout_start"] - record["heldout_best"])
    floors = {place: 0.5 * fmean(found) for place, found in drops.items()}
    result = []
    for record in records:
        best = plain.get(unit(record), record["heldout_best"]) if record["arm"] == "quarter" else record["heldout_best"]
        gain = max(record["heldout_start"] - best, floors[record["family"], record["set"], record["n"]], 1e-9)
        result.append((record, min(2.0, (record["heldout_at_stop"] - best) / gain)))
    return result


@lru_cache(maxsize=256)
def t_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Return how many standard errors a two-sided interval of Student's t reaches to either side."""

    def outside(t: mpmath.mpf) -> mpmath.mpf:
        share = mpmath.betainc(freedom / 2, 0.5, 0, freedom / (freedom + t * t), regularized=True)
        return share - (1 - confidence)

    return float(mpmath.findroot(outside, (1.0, 3.0), solver="secant"))


def _means(values: Values) -> list[float]:
    groups: dict[Any, list[float]] = {}
    for key, value in values:
        groups.setdefault(key, []).append(value)
    return [fmean(group) for group in groups.values()]


def _half_width(means: Sequence[float]) -> float | None:
    if len(means) < FEWEST:
        return None
    return t_quantile(len(means) - 1) * stdev(means) / sqrt(len(means))
