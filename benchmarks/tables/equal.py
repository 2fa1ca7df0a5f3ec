"""The same comparison at equal exposures and at equal compute, and what a wrong stop costs.

Equal exposures: a run whose slots hold a share gamma of other data is looked at after 1 / (1 - gamma) times the
steps, when it has seen every reference as often. Equal compute: after as many steps or, where the frozen backbone has
to predict the protecting slots too, after as many less as that forward pass costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.statistics import Record, cluster, estimate, ratio
from benchmarks.tables.groups import cell, size, table
from benchmarks.tables.study import NONE, Runs, arms, by_family, experiments, forgot, heldout

FORWARD = 1 / 3  # what a forward pass without gradients costs of a training step


def equal_table(records: list[Record]) -> str:
    """Return every protection against none at the step that none publishes, at equal exposures and equal compute."""

    def rows() -> Iterator[list[str]]:
        for name, mine in by_family(records).items():
            for arm in arms(mine):
                runs = [one for one in experiments(mine) if arm in one and one[arm]["gamma"]]
                if runs:
                    found = [part for stretch in (exposures, compute) for part in _compared(arm, runs, stretch)]
                    yield [name, arm, *found, str(len(runs))]

    head = "data | arm | equal exposures: held-out - none's | forgetting / none's"
    return table(f"{head} | equal compute: held-out - none's | forgetting / none's | runs", rows())


def exposures(run: Record) -> float:
    """Return how many times the steps of a plain run see every reference as often."""
    return 1 / (1 - float(run["gamma"]))


def compute(run: Record) -> float:
    """Return how many times the steps of a plain run cost as much."""
    frozen = run["protect"] in ("distil", "both")
    return 1 / (1 + FORWARD * float(run["gamma"]) * frozen)


def _compared(arm: str, runs: list[Runs], stretch: Callable[[Record], float]) -> list[str]:
    found = [(one[arm], one[NONE], one[NONE]["published"]) for one in runs]
    placed = [(run, plain, step, min(step * stretch(run), run["steps"][-1])) for run, plain, step in found]
    losses = [(cluster(run), heldout(run, later) - heldout(plain, step)) for run, plain, step, later in placed]
    forgetting = [(cluster(run), forgot(run, later), forgot(plain, step)) for run, plain, step, later in placed]
    return [cell(estimate(losses)), cell(ratio(forgetting), 1, 2, "")]


def wrong_stop_table(records: list[Record]) -> str:
    """Return how much worse than its best a run is at twice its best step and at its end, in points of the start."""

    def rows() -> Iterator[list[str]]:
        for name, mine in by_family(records).items():
            for arm in [NONE, *arms(mine)]:
                runs = [run for run in mine if run["arm"] == arm]
                twice = estimate([(cluster(run), lost(run, 2 * run["best_step"])) for run in runs])
                last = estimate([(cluster(run), lost(run, run["horizon"])) for run in runs])
                yield [name, arm, twice.text(), last.text(), size(last)]

    return table("data | arm | at twice the best step | at the horizon | runs (clusters)", rows())


def wrong_stop_of_replay(records: list[Record]) -> str:
    """Return the same of the earlier runs, which kept their end only."""

    def rows() -> Iterator[list[str]]:
        for arm in ("none", "random .25", "influence .25", "random .5", "influence .5"):
            ends = [r for r in records if (r["family"], r["rule"], r["arm"]) == ("nano", "never", arm)]
            if ends:
                lost_there = [(r["heldout_at_stop"] - r["heldout_best"]) / r["heldout_start"] for r in ends]
                last = estimate([(cluster(r), value) for r, value in zip(ends, lost_there, strict=True)])
                yield [arm, last.text(), size(last)]

    return table("small LM, arm | at the horizon (160 steps) | runs (clusters)", rows())


def lost(run: Record, step: float) -> float:
    """Return how far the held-out loss at a step is above the run's least, in shares of that before training."""
    return heldout(run, step) - min(run["heldout"][1:]) / float(run["heldout"][0])
