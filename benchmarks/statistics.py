"""Paired comparisons: every difference is taken within one experiment, and intervals resample whole experiments."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Record = dict[str, Any]
RESAMPLES = 4000
UNIT = ("family", "set", "n", "learning_rate", "seed", "pool")


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % bootstrap interval and the number of experiments behind it."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0: p < .05, two-sided."""
        return self.low > 0 or self.high < 0

    def text(self, scale: float = 100.0, digits: int = 1) -> str:
        """Return "mean [low, high]", in per cent unless told otherwise."""
        mean, low, high = (f"{scale * value:+.{digits}f}" for value in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"


def unit(record: Record) -> tuple[Any, ...]:
    """Return which experiment a record belongs to."""
    return tuple(record[name] for name in UNIT)


def estimate(values: Sequence[tuple[Any, float]], seed: int = 0) -> Estimate:
    """Return the mean of `values`, (cluster, value) pairs, with an interval that resamples clusters.

    The same references at several learning rates and pools share their sampling luck, so they are one cluster.
    """
    clusters: dict[Any, list[float]] = {}
    for cluster, value in values:
        clusters.setdefault(cluster, []).append(value)
    groups, generator = list(clusters.values()), random.Random(seed)
    means = []
    for _ in range(RESAMPLES):
        drawn = generator.choices(groups, k=len(groups))
        means.append(sum(map(sum, drawn)) / sum(map(len, drawn)))
    means.sort()
    low, high = means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES) - 1]
    return Estimate(fmean(value for _, value in values), low, high, len(values))


def paired(
    records: Iterable[Record], first: tuple[str, str], second: tuple[str, str], value: Callable[[Record], float]
) -> Estimate | None:
    """Return value(first) - value(second) over experiments that have both; each is named by (arm, rule)."""
    found: dict[tuple[Any, ...], dict[tuple[str, str], float]] = {}
    for record in records:
        name = (record["arm"], record["rule"])
        if name in (first, second):
            found.setdefault(unit(record), {})[name] = value(record)
    both = [
        (cluster(place), pair[first] - pair[second])
        for place, pair in found.items()
        if first in pair and second in pair
    ]
    return estimate(both) if both else None


def cluster(place: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what is resampled together: one family, set and seed."""
    return place[0], place[1], place[4]


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
    result = []
    for record in records:
        floor = 0.5 * fmean(drops[record["family"], record["set"], record["n"]])
        best = plain.get(unit(record), record["heldout_best"]) if record["arm"] == "quarter" else record["heldout_best"]
        gain = max(record["heldout_start"] - best, floor, 1e-9)
        result.append((record, min(2.0, (record["heldout_at_stop"] - best) / gain)))
    return result
