"""Read the study of protection: every run of it keeps whole series, so that any step can be looked at.

Distances from the frozen backbone are those on unrelated data where a family has some, else on the probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy

from benchmarks.statistics import Record, unit
from benchmarks.tables.groups import FAMILIES, kind

NONE = "none"
Runs = dict[str, Record]  # one experiment's, by arm
Groups = dict[str, list[Record]]  # what stands in one part of a table, by its name


def by_kind(records: Iterable[Record]) -> Groups:
    """Return the records of every family and kind, in the order of the page."""
    return _grouped(records, lambda record: f"{FAMILIES[record['family']]}, {kind(record)}")


def by_family(records: Iterable[Record]) -> Groups:
    """Return the records of every family; pictures are subjects or styles, texts of all kinds stand together."""

    def named(record: Record) -> str:
        family = FAMILIES[record["family"]]
        return f"{family}, {kind(record)}" if kind(record) in ("subject", "style") else family

    return _grouped(records, named)


def _grouped(records: Iterable[Record], named: Callable[[Record], str]) -> Groups:
    places = list(FAMILIES)
    groups: Groups = {}
    for record in sorted(records, key=lambda record: (places.index(record["family"]), kind(record))):
        groups.setdefault(named(record), []).append(record)
    return groups


def experiments(records: Iterable[Record]) -> list[Runs]:
    """Return the experiments that have a run without protection; arms of both parts of the study come together."""
    found: dict[object, Runs] = {}
    for record in records:
        found.setdefault(unit(record), {}).setdefault(record["arm"], record)
    return [runs for runs in found.values() if NONE in runs]


def arms(records: Iterable[Record]) -> list[str]:
    """Return the names of all arms but none, in the order in which they were listed."""
    return [arm for arm in dict.fromkeys(record["arm"] for record in records) if arm != NONE]


def paper(runs: Runs) -> str | None:
    """Return the arm that is BAT as its paper has it: the pool's own data, which count like references."""
    same = ("replay", 1.0, "pool")
    mine = [arm for arm, run in runs.items() if (run["protect"], run["protect_weight"], run["protect_on"]) == same]
    return next(iter(mine), None)


def at(run: Record, series: str, step: float) -> float:
    """Return a series of a run at any step, interpolated in the logarithm of the step."""
    return float(numpy.interp(numpy.log1p(step), numpy.log1p(run["steps"]), run[series]))


def heldout(run: Record, step: float) -> float:
    """Return the held-out loss at a step over that before training."""
    return at(run, "heldout", step) / float(run["heldout"][0])


def forgot(run: Record, step: float) -> float:
    """Return the rise of the loss on the probe at a step."""
    return at(run, "probe", step) / float(run["probe"][0]) - 1


def distance(run: Record, step: float) -> float:
    """Return how far the backbone's behaviour is left at a step: 0 before training, interpolated in between."""
    kept: dict[str, float] = run["kept"].get("unrelated") or run["kept"]["probe"]
    far = {0: 0.0, **{int(place): value for place, value in kept.items()}}
    return float(numpy.interp(step, sorted(far), [far[place] for place in sorted(far)]))
