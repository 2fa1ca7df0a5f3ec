"""What the curves come to: where the turning point lies, where the run was best, and what the distance costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from worker.protocol import Json

ACCURACY = "accuracy"
GUESSED = 0.25  # of questions with four letters
BEST_BY = (ACCURACY, "similarity")  # else by the loss on held-out references
LOSS = "heldout_loss"


@dataclass(frozen=True)
class Run:
    """One run's curves, by step, and what its rule found."""

    seed: int
    measured: dict[str, dict[int, float]]  # name -> step -> figure; more is better but of the loss
    fluctuation: dict[int, float]  # by the step that it speaks of
    valleys: tuple[int, ...]
    turning: int | None
    window: int  # M, in steps
    known_after: int  # steps from a turning point to where it is known
    last: int
    informative: bool

    @classmethod
    def of(cls, found: Json) -> Run:
        """Read what a run left."""
        rows, outcome = found["rows"], found["outcome"]
        series: dict[str, dict[int, float]] = {}
        for row in rows:
            told = dict(row.get("measured", {})) | ({LOSS: row[LOSS]} if LOSS in row else {})
            for name, value in told.items():
                series.setdefault(name, {})[row["step"]] = value
        fluctuation = {row["cs_step"]: row["cs_fluctuation"] for row in rows if "cs_step" in row}
        window = outcome["window"]
        return cls(
            found["seed"],
            series,
            fluctuation,
            tuple(outcome["valleys"]),
            outcome["turning_point_step"],
            window["evaluations"] * window["interval"],
            (3 * window["evaluations"] - 1) * window["interval"],
            outcome["last_step"],
            outcome["informative"],
        )

    @property
    def by(self) -> str | None:
        """Return what says which step is best; None where nothing was measured."""
        return next((name for name in (*BEST_BY, LOSS) if name in self.measured), None)

    @property
    def best(self) -> int | None:
        """Return the first step at which the run was best."""
        return None if self.by is None else self.best_of(self.by)

    def best_of(self, name: str) -> int:
        """Return the first step at which a figure was best."""
        series, sign = self.measured[name], -1 if name == LOSS else 1
        return max(sorted(series), key=lambda step: sign * series[step])

    def at(self, step: int) -> float | None:
        """Return the figure of the judged step that is nearest."""
        if self.by is None:
            return None
        series = self.measured[self.by]
        return series[min(series, key=lambda known: (abs(known - step), known))]


def summary(run: Run) -> Json:
    """Return the figures of one run at the steps that are compared."""
    places = {"start": 0, "turning_point": run.turning, "twice_the_window": 2 * run.window, "best": run.best}
    places["last"] = run.last
    found = {name: {"step": step, "figure": run.at(step)} for name, step in places.items() if step is not None}
    return {"seed": run.seed, "by": run.by, "valleys": list(run.valleys), "informative": run.informative, **found}


def sentence(run: Run) -> str:
    """Say how far a run's turning point is from its best step, and what that costs."""
    head = f"Seed {run.seed}: "
    if run.turning is None:
        return head + _none(run)
    told = f"the turning point is step {run.turning}, known at step {run.turning + run.known_after}"
    told += "" if run.informative else " (the curve does not stand clear of its noise, so this may be chance)"
    if run.by is None or run.best is None:
        return f"{head}{told}; nothing says which step is best, for no reference was held out and nothing was asked."
    here, there = run.at(run.turning), run.at(run.best)
    apart = run.turning - run.best
    place = f"came {abs(apart)} steps {'after' if apart > 0 else 'before'} it" if apart else "is that very step"
    return (
        f"{head}{told}. {_name(run.by)} was best at step {run.best} ({shown(run.by, there)}), and the turning point "
        f"{place} ({shown(run.by, here)}); before training it was {shown(run.by, run.at(0))}, at 2 M, step "
        f"{2 * run.window}, {shown(run.by, run.at(2 * run.window))}, and at the end, step {run.last}, "
        f"{shown(run.by, run.at(run.last))}.{_beside(run)}"
    )


def _beside(run: Run) -> str:
    """Say where the loss was lowest, where another figure says which step is best."""
    if run.by == LOSS or LOSS not in run.measured:
        return ""
    step = run.best_of(LOSS)
    return f" The loss on held-out references was lowest at step {step} ({shown(LOSS, run.measured[LOSS][step])})."


def _none(run: Run) -> str:
    needed = run.window * 3
    why = (
        f"the run of {run.last} steps was too short for its windows, which take {needed} steps"
        if run.last < needed
        else f"CS-Fluctuation showed {len(run.valleys)} of two valleys in {run.last} steps"
    )
    best = (
        ""
        if run.by is None
        else f" {_name(run.by)} was best at step {run.best} ({shown(run.by, run.at(run.best or 0))})."
    )
    return f"there is no turning point: {why}.{best}"


def overall(runs: Sequence[Run], asked: int | None) -> list[str]:
    """Return what all runs say together, and how much of it chance could say."""
    told = []
    turned = [run for run in runs if run.turning is not None and run.best is not None and run.by]
    if len(turned) > 1:
        by = turned[0].by or LOSS
        means = [
            fmean(_known(run.at(step)) for run, step in zip(turned, steps, strict=True)) for steps in _places(turned)
        ]
        apart = fmean(abs((run.turning or 0) - (run.best or 0)) for run in turned)
        told.append(
            f"Over {len(turned)} seeds the turning point is {apart:.0f} steps from the best on average; "
            f"{_name(by).lower()} is {shown(by, means[0])} there, {shown(by, means[1])} at 2 M and "
            f"{shown(by, means[2])} at the best step, which a choice among many evaluations flatters."
        )
    if asked:
        told.append(
            f"With {asked} questions one is {100 / asked:.1f} points, and an accuracy of a half has a standard error "
            f"of {50 / math.sqrt(asked):.1f} points: smaller differences say nothing."
        )
        told += _guessed(runs, asked)
    return told


def _guessed(runs: Sequence[Run], asked: int) -> list[str]:
    """Say so where no adapter answers clearly better than somebody who guesses."""
    most = max((max(run.measured[ACCURACY].values()) for run in runs if ACCURACY in run.measured), default=0.0)
    clear = GUESSED + 2 * math.sqrt(GUESSED * (1 - GUESSED) / asked)
    if most >= clear:
        return []
    return [
        f"Guessing gives {GUESSED:.0%}, and no judged step reaches two standard errors above that ({clear:.1%}): here "
        "accuracy says nothing of which step is best."
    ]


def _places(runs: Sequence[Run]) -> list[list[int]]:
    turning, best = ([getattr(run, name) or 0 for run in runs] for name in ("turning", "best"))
    return [turning, [2 * run.window for run in runs], best]


def _known(figure: float | None) -> float:
    assert figure is not None
    return figure


def _name(by: str) -> str:
    return {"accuracy": "Accuracy", "similarity": "The way to held-out pictures"}.get(by, "The held-out loss")


def shown(by: str, figure: float | None) -> str:
    """Write a figure as people read it."""
    if figure is None:
        return "not measured"
    return f"{figure:.4f}" if by == LOSS else f"{figure:.1%}"
