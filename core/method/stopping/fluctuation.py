"""CS-Fluctuation and its turning point (CS-Fluctuation paper, Eq. 3-4 and Algorithm 1), one evaluation at a time.

With evaluations t = 0, 1, ... and a window of M evaluations:
    X_t = (sum of the last M CS - sum of the M before) / M^2        valid from t = 2M-1   (slope of the moving average)
    F_t = population variance(last M X) / learning rate             valid from t = 3M-2   (CS-Fluctuation)
A valley lies at t when F fell into t and rises after it; the second one is the turning point.
F_t rests on CS[t-3M+2 .. t], so the step it speaks of is its left edge, t - (3M-2): the latency is 3M-2 evaluations.

Algorithm 1 labels F at evaluation j with j - M. That is the left edge of one window, but three are chained (the moving
average, the mean of its slopes, their variance), and the released code keeps 3M-1 checkpoints and returns the oldest:
it agrees with 3M, and so do we. Readings: the sum j..j+M of Eq. 3 has M+1 terms over M, we take M terms; the variance
of Eq. 4 is the population's, of the last M slopes about their own mean, as in that code, which leaves out the division
by the learning rate (the same place at a constant rate).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Semantics = Literal["paper", "released"]

# A random walk with slope noise of variance s^2 has F = FLOOR s^2 / (M lr) and valleys every 1.13 M whatever is learnt
# (our simulation): a peak below INFORMATIVE times that floor cannot be told from chance.
FLOOR = 0.112
INFORMATIVE = 10.0
# Our reconstruction for curves without a second valley: F has settled when it stays below this share of its peak.
SETTLED = 0.05
TURNING = 2  # the turning point is the second valley


@dataclass(frozen=True)
class Valley:
    """Name the optimizer steps of one valley of F."""

    left: int  # left edge of F's support: the checkpoint of the paper and of this product
    centre: int  # where the inflection of CS lies
    detect: int  # where it became known, 3M-1 evaluations after `left`
    value: float


class FluctuationDetector:
    """Follow CS-Fluctuation and find its valleys in O(M) memory.

    `semantics="paper"` counts true valleys; `"released"` counts an initial rise of F as the first one, which is what
    the authors' released code does (its valley scan wraps around). Ties (dF = 0) keep the sign before them.
    The series begins with the first finite CS: before the first update B = 0 and CS is 0/0.
    """

    def __init__(self, window: int, learning_rate: float, semantics: Semantics = "paper") -> None:
        if window < 2:
            raise ValueError("a window of fewer than 2 evaluations has no variance")
        self.window = window
        self.learning_rate = learning_rate
        self.semantics: Semantics = semantics
        self.valleys: list[Valley] = []
        self.settled: int | None = None  # left edge of the first lasting quiet after the peak
        self.peak = 0.0
        self.floor = 0.0  # the noise floor at the peak
        self._similarities: deque[float] = deque(maxlen=3 * window)
        self._steps: deque[int] = deque(maxlen=3 * window)
        self._slopes: deque[float] = deque(maxlen=window)
        self._last: float | None = None
        self._sign = 0
        self._quiet = 0

    @property
    def turning_point(self) -> Valley | None:
        """Return the second valley, once it is confirmed."""
        return self.valleys[TURNING - 1] if len(self.valleys) >= TURNING else None

    @property
    def found(self) -> list[int]:
        """Return the left edges of the valleys up to the turning point."""
        return [valley.left for valley in self.valleys[:TURNING]]

    @property
    def left_edge(self) -> int | None:
        """Return the step that the newest F speaks of; None while its windows are not full."""
        return self._steps[1 - 3 * self.window] if len(self._steps) >= 3 * self.window - 1 else None

    @property
    def pending(self) -> list[int]:
        """Return the steps that a valley still to come could name: the last 3M evaluations."""
        return list(self._steps)

    @property
    def informative(self) -> bool:
        """Tell whether F ever stood clear of what noise alone would show at this window."""
        return self.peak > 0 and self.peak >= INFORMATIVE * self.floor

    @property
    def peak_to_noise(self) -> float:
        """Return the highest F over its noise floor there; NaN before there is one."""
        return self.peak / self.floor if self.floor > 0 else math.nan

    def update(self, similarity: float, step: int) -> float | None:
        """Take CS at an optimizer step and return F, or None while its windows are not full."""
        if not math.isfinite(similarity):
            return None
        self._similarities.append(similarity)
        self._steps.append(step)
        window, recent = self.window, list(self._similarities)
        if len(recent) < 2 * window:
            return None
        self._slopes.append((math.fsum(recent[-window:]) - math.fsum(recent[-2 * window : -window])) / window**2)
        if len(self._slopes) < window:
            return None
        fluctuation = variance(self._slopes) / self.learning_rate
        self._watch_valley(fluctuation)
        self._watch_settling(fluctuation)
        self._last = fluctuation
        return fluctuation

    def noise_floor(self) -> float:
        """Estimate the F that slope noise alone would show now: s^2 from the second differences of CS (ours)."""
        cs = list(self._similarities)
        second = [c - 2 * b + a for a, b, c in zip(cs, cs[1:], cs[2:], strict=False)]
        return FLOOR * variance(second) / 2 / (self.window * self.learning_rate)

    def _watch_valley(self, fluctuation: float) -> None:
        if self._last is None or fluctuation == self._last:
            return
        sign = 1 if fluctuation > self._last else -1
        initial_rise = self.semantics == "released" and self._sign == 0 and sign > 0
        if (self._sign < 0 and sign > 0) or initial_rise:
            self.valleys.append(self._valley(self._last))
        self._sign = sign

    def _valley(self, value: float) -> Valley:
        """Label the valley at the evaluation before this one; the oldest step kept is exactly its left edge."""
        steps = self._steps
        return Valley(steps[0], steps[(3 * self.window - 2) // 2], steps[-1], value)

    def _watch_settling(self, fluctuation: float) -> None:
        if fluctuation > self.peak:
            self.peak, self.floor, self._quiet = fluctuation, self.noise_floor(), 0
            return
        self._quiet = self._quiet + 1 if fluctuation < SETTLED * self.peak else 0
        if self.settled is None and self._quiet == self.window:
            self.settled = self.left_edge


def variance(values: Sequence[float] | deque[float]) -> float:
    """Return the population variance, summed exactly: slope differences are near 1e-6 and cancel."""
    if not values:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values)
