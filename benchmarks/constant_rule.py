"""The rule "c n / lr": so many steps for each reference and learning rate, with c from other sets.

It holds none of a set's own references out, but needs runs on other sets whose loss on unseen data was measured. What
each constant comes to is in the record of every whole run; c is chosen when tables are made, without the set it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.statistics import Record, excess, unit

CONSTANTS = tuple(2 ** (power / 2) for power in range(-2, 15))  # steps for one reference at a learning rate of 1e-3
# Which sets a constant may come from, by the name of the rule.
SOURCES: Mapping[str, Callable[[Record, Record], bool]] = {
    "c n / lr": lambda own, other: other["family"] == own["family"] and other["set"] != own["set"],
    "c n / lr, another family's c": lambda own, other: other["family"] != own["family"],
}


def constant_step(constant: float, n: int, learning_rate: float, horizon: int) -> int:
    """Return the step that a constant names."""
    return max(1, min(horizon, round(constant * n * 1e-3 / learning_rate)))


def by_constant(records: Sequence[Record]) -> list[Record]:
    """Return what the rule publishes in each run, with the c that gives least away on the sets it may come from.

    It is learned from runs of the same arm; where there are no other sets, there is no such record.
    """
    whole = [record for record in records if record["rule"] == "never" and "constants" in record]
    return [
        record
        for arm in sorted({record["arm"] for record in whole})
        for rule, allowed in SOURCES.items()
        for record in _learned([record for record in whole if record["arm"] == arm], rule, allowed)
    ]


def _learned(runs: Sequence[Record], rule: str, allowed: Callable[[Record, Record], bool]) -> list[Record]:
    """Return the records of the runs of one arm by one rule."""
    judged = [_judged(runs, place) for place in range(len(CONSTANTS))]
    found = []
    for run in runs:
        others = [unit(other) for other in runs if allowed(run, other)]
        if others:
            costs = [fmean(values[other] for other in others) for values in judged]
            found.append(_stopped(run, costs.index(min(costs)), rule))
    return found


def _judged(runs: Sequence[Record], place: int) -> dict[tuple[Any, ...], float]:
    """Return the excess of every run with one constant."""
    return {unit(record): value for record, value in excess([_stopped(run, place, "") for run in runs])}


def _stopped(run: Record, place: int, rule: str) -> Record:
    """Return the record of a run that stops by one constant."""
    step, heldout, forgetting = run["constants"][place]
    kept = {name: value for name, value in run.items() if name != "constants"}
    stopped = {"stop_step": step, "heldout_at_stop": heldout, "forgetting": forgetting}
    return kept | {"rule": rule, "constant": round(CONSTANTS[place], 3), **stopped}
