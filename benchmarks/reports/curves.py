"""What curves say, written anew from docs/method.md: held-out evidence of surrogates, and CS-Fluctuation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance, stdev
from typing import Any

NOISE = 0.112  # CS-Fluctuation of a random walk, in units of its slope noise over window and learning rate


@dataclass(frozen=True)
class Curves:
    """T of every fold and H of every reference at each evaluation; `folds` hold what each surrogate did not see."""

    folds: list[list[int]]
    gamma: float
    steps: list[int]
    seen: list[list[float]]
    held_out: list[list[float]]

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Curves:
        return cls(stored["folds"], stored["gamma"], stored["steps"], stored["seen"], stored["held_out"])

    @property
    def holds_out(self) -> bool:
        return all(self.folds) and len(self.steps) > 1

    @property
    def references(self) -> int:
        return sum(map(len, self.folds))

    def smooth(self) -> list[float]:
        """Return the held-out loss, each evaluation averaged with its neighbours."""
        raw = [fmean(row) for row in self.held_out]
        return [fmean(raw[max(0, at - 1) : at + 2]) for at in range(len(raw))]

    @property
    def at_best(self) -> int:
        """Return the place of the evaluation, after step 0, where the smooth held-out loss is lowest."""
        smooth = self.smooth()
        return smooth.index(min(smooth[1:]), 1)

    @property
    def best(self) -> int:
        return self.steps[self.at_best]

    @property
    def turned(self) -> bool:
        """Tell whether there are two evaluations or more after the best one, all of them worse."""
        return self.at_best < len(self.steps) - 2

    @property
    def level(self) -> float:
        """Return the loss on what was seen, at the best step, relative to before training."""
        return fmean(there / start for there, start in zip(self.seen[self.at_best], self.seen[0], strict=True))

    def gains(self) -> list[float]:
        """Return how much every fold's held-out loss has fallen by the best step, relative to before training."""
        found = []
        for fold in self.folds:
            start, there = (fmean(self.held_out[at][i] for i in fold) for at in (0, self.at_best))
            found.append(1 - there / start)
        return found

    @property
    def gain(self) -> float:
        return fmean(self.gains())

    @property
    def error(self) -> float:
        """Return the standard error of the gain over folds."""
        gains = self.gains()
        return stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0

    @property
    def spread(self) -> float:
        """Return the standard error of the gain over single references, each around the best step."""
        gains = self.learnt()
        return stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0

    def around_best(self) -> list[float]:
        """Return the loss of every reference, averaged over the best evaluation and its neighbours."""
        near = self.held_out[max(0, self.at_best - 1) : self.at_best + 2]
        return [fmean(losses) for losses in zip(*near, strict=True)]

    def learnt(self) -> list[float]:
        """Return the share of each reference's loss that training on the others has taken away."""
        return [1 - there / start for start, there in zip(self.held_out[0], self.around_best(), strict=True)]

    @property
    def more_to_see(self) -> float:
        """Return how much later the final run's best step is than a surrogate's, which sees fewer references."""
        return math.sqrt(self.references / fmean(self.references - len(fold) for fold in self.folds))


@dataclass(frozen=True)
class Fluctuation:
    """F at the step of each evaluation that has one, its valleys (left edge, step it was seen at), and its noise."""

    values: list[tuple[int, float]]
    valleys: list[tuple[int, int]]
    settled: list[int]  # left edges of windows throughout which F was below a twentieth of its peak so far
    to_noise: float | None  # its peak over the noise there; None without a peak or without noise
    peak: float

    @classmethod
    def of(cls, shown: Sequence[tuple[int, float]], window: int, rate: float, released: bool) -> Fluctuation:
        cs, steps = [value for _, value in shown], [step for step, _ in shown]
        slopes = {
            t: (sum(cs[t - window + 1 : t + 1]) - sum(cs[t - 2 * window + 1 : t - window + 1])) / window**2
            for t in range(2 * window - 1, len(cs))
        }
        first = 3 * window - 2
        found = {t: pvariance([slopes[u] for u in range(t - window + 1, t + 1)]) / rate for t in range(first, len(cs))}
        left = {t: steps[t - first] for t in found}
        peak_at = max(found, key=lambda t: found[t], default=None)
        noise = _noise(cs[max(0, peak_at - 3 * window + 1) : peak_at + 1], window, rate) if peak_at is not None else 0.0
        peak = found[peak_at] if peak_at is not None else 0.0
        quiet = [
            left[t]
            for t in found
            if t - window + 1 in found
            and all(found[u] < 0.05 * max(found[v] for v in found if v <= u) for u in range(t - window + 1, t + 1))
        ]
        valleys = [(left[t - 1], steps[t]) for t in _valleys(found, released)]
        return cls([(steps[t], f) for t, f in found.items()], valleys, quiet, peak / noise if noise > 0 else None, peak)

    @property
    def second_valley(self) -> tuple[int, int] | None:
        return self.valleys[1] if len(self.valleys) > 1 else None

    @property
    def clear(self) -> bool:
        """Tell whether the peak is ten times its noise."""
        return self.peak > 0 and (self.to_noise is None or self.to_noise >= 10)


def _valleys(found: dict[int, float], released: bool) -> list[int]:
    """Return the evaluations at which F rises after it has fallen; the released code also counts a first rise."""
    seen, before = [], 0
    for t in list(found)[1:]:
        change = found[t] - found[t - 1]
        if change == 0:
            continue
        if change > 0 and (before < 0 or (released and before == 0)):
            seen.append(t)
        before = 1 if change > 0 else -1
    return seen


def _noise(cs: Sequence[float], window: int, rate: float) -> float:
    second = [c - 2 * b + a for a, b, c in zip(cs, cs[1:], cs[2:], strict=False)]
    return NOISE * (pvariance(second) if second else 0.0) / 2 / (window * rate)
