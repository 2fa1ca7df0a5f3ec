"""After how many steps the stages of a job will end: at their budgets at the latest, mostly before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from core.estimates.measurements import Measured
from core.estimates.sizes import JobSize, Steps
from core.parameters import schedule

BEYOND = 1.5  # a stage that was stopped by its budget would have ended so much later, as far as we know
# Where no job has finished yet: shares of the usual budgets. The built-in backbones' budgets are tight: most surrogates
# use theirs up.
TYPICAL_SHARES: Mapping[str, float] = {"surrogate": 1.0, "trial": 1.0, "train": 0.8}


@dataclass(frozen=True)
class StepCounts:
    """Steps per stage, in references seen and at a learning rate of 1: protection and smaller steps stretch them."""

    expected: Mapping[str, float]
    earliest: Mapping[str, float]
    measured: bool
    unscored: float = 0.0  # share of the finished jobs whose scoring ended after its first part

    def steps(self, shape: JobSize, *, protects: bool) -> Steps:
        """Return the steps to expect."""
        return self._steps(shape, self.expected, protects, self.unscored)

    def fewest(self, shape: JobSize, *, protects: bool) -> Steps:
        """Return the fewest steps that are likely."""
        return self._steps(shape, self.earliest, protects, 1.0)

    def most(self, shape: JobSize, *, protects: bool) -> Steps:
        """Return the most steps that there can be."""
        trials = shape.trial_budget if shape.tried and protects else 0
        if trials and shape.share / 2 >= schedule.MIN_TRIED_SHARE:
            trials += shape.folds_budget(shape.share / 2)
        return Steps(shape.surrogate_budget, trials, _budget(shape, protects))

    def _steps(self, shape: JobSize, ends: Mapping[str, float], protects: bool, unscored: float) -> Steps:
        share = shape.share if protects else 0.0
        ended = {name: ends[name] / shape.learning_rate for name in ends}
        surrogate = min(shape.surrogate_budget, max(schedule.EARLIEST_STOP, round(ended["surrogate"])))
        tried = min(shape.trial_budget, max(schedule.EARLIEST_STOP, round(ended["trial"] / (1 - share))))
        budget = _budget(shape, protects)
        train = budget if shape.stop == "max_steps" else min(budget, max(1, round(ended["train"] / (1 - share))))
        return Steps(surrogate, tried if shape.tried and protects else 0, train, unscored if shape.tested else 0.0)


def endings(rows: Sequence[Measured], usual: JobSize) -> StepCounts:
    """Return when stages end: learnt from finished jobs, the newest first, else a share of the `usual` budgets."""
    jobs = [row for row in rows if row.source == "job"]
    guess = _guess(usual)
    known: dict[str, list[float]] = {"surrogate": [], "trial": [], "train": []}
    for row in jobs:
        for name, ended in _ended(row).items():
            known[name].append(ended)
    expected = {name: median(found) if found else guess[name] for name, found in known.items()}
    earliest = {name: min(found) if len(found) > 2 else expected[name] / 2 for name, found in known.items()}
    tested = [row.steps.unscored for row in jobs if row.shape.tested]
    return StepCounts(expected, earliest, bool(jobs), fmean(tested) if tested else 0.0)


def _budget(shape: JobSize, protects: bool) -> int:
    return shape.budget if protects else shape.max_steps


def _guess(shape: JobSize) -> dict[str, float]:
    steps = {"surrogate": shape.surrogate_steps, "trial": shape.surrogate_steps, "train": shape.max_steps}
    return {name: TYPICAL_SHARES[name] * steps[name] * shape.learning_rate for name in steps}


def _ended(row: Measured) -> dict[str, float]:
    """Return where the stages of one job ended, as `Endings` counts."""
    shape, steps = row.shape, row.steps
    found = {"surrogate": _counted(steps.surrogate, shape.surrogate_budget, 0.0, shape.learning_rate)}
    if steps.trial:
        found["trial"] = _counted(steps.trial, shape.trial_budget, shape.share, shape.learning_rate)
    if steps.train and shape.stop != "max_steps":
        share = shape.share if shape.protects(row.data.candidates) else 0.0
        found["train"] = _counted(steps.train, shape.budget, share, shape.learning_rate)
    return found


def _counted(steps: int, budget: int, share: float, learning_rate: float) -> float:
    return steps * (BEYOND if steps >= budget else 1.0) * (1 - share) * learning_rate
