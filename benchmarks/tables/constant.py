"""The rule "c n / lr": so many steps for each reference and learning rate, with c from other sets.

It holds none of a set's own references out, but needs runs on other sets whose loss on unseen data was measured. What
each constant comes to stands in the curve of every run; c is chosen when tables are made, without the set it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.statistics import Record, excess, unit
from benchmarks.tables.study import at

CONSTANTS = tuple(2 ** (power / 2) for power in range(-2, 15))  # steps for one reference at a learning rate of 1e-3
# Which sets a constant may come from, by the name of the rule.
SOURCES: Mapping[str, Callable[[Record, Record], bool]] = {
    "c n / lr": lambda own, other: other["family"] == own["family"] and other["set"] != own["set"],
    "c n / lr, another family's c": lambda own, other: other["family"] != own["family"],
}


class _Run(NamedTuple):
    """What is recorded of a run that never stops, and what it showed all along."""

    record: Record
    curve: Record


def constant_step(constant: float, n: int, learning_rate: float, horizon: int) -> int:
    """Return the step that a constant names."""
    return max(1, min(horizon, round(constant * n * 1e-3 / learning_rate)))


def by_constant(records: Sequence[Record], curves: Sequence[Record]) -> list[Record]:
    """Return what the rule publishes in each run, with the c that gives least away on the sets it may come from.

    It is learned from runs of the same arm; where there are no other sets, there is no such record.
    """
    shown = {(curve["arm"], unit(curve)): curve for curve in curves}
    whole = [record for record in records if record["rule"] == "never"]
    runs = [_Run(record, shown[place]) for record in whole if (place := (record["arm"], unit(record))) in shown]
    found: list[Record] = []
    for arm in sorted({run.record["arm"] for run in runs}):
        mine = [run for run in runs if run.record["arm"] == arm]
        judged = [_judged(mine, constant) for constant in CONSTANTS]
        for rule, allowed in SOURCES.items():
            found += _learned(mine, judged, rule, allowed)
    return found


def _learned(
    runs: Sequence[_Run],
    judged: Sequence[Mapping[tuple[Any, ...], float]],
    rule: str,
    allowed: Callable[[Record, Record], bool],
) -> list[Record]:
    """Return the records of the runs of one arm by one rule; `judged` holds the excess of each, by constant."""
    costs: dict[tuple[str, str], list[float]] = {}
    found = []
    for run in runs:
        own = (run.record["family"], run.record["set"])
        if own not in costs:
            others = [unit(other.record) for other in runs if allowed(run.record, other.record)]
            costs[own] = [fmean(values[other] for other in others) for values in judged] if others else []
        if costs[own]:
            found.append(_stopped(run, CONSTANTS[costs[own].index(min(costs[own]))], rule))
    return found


def _judged(runs: Sequence[_Run], constant: float) -> dict[tuple[Any, ...], float]:
    """Return the excess of every run with one constant."""
    return {unit(record): value for record, value in excess([_stopped(run, constant, "") for run in runs])}


def _stopped(run: _Run, constant: float, rule: str) -> Record:
    """Return the record of a run that stops by one constant."""
    record, curve = run
    step = constant_step(constant, record["n"], record["learning_rate"], curve["steps"][-1])
    forgetting = at(curve, "probe", step) / curve["probe"][0] - 1
    stopped = {"stop_step": step, "heldout_at_stop": at(curve, "heldout", step), "forgetting": forgetting}
    return record | {"rule": rule, "constant": round(constant, 3), **stopped}
