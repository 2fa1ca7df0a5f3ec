"""The picture rule: how near the step that pictures choose draws to held-out pictures, beside that of other rules."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from benchmarks.statistics import Record, estimate
from benchmarks.tables.groups import cell, size, table

RULES = ("matched loss", "pictures", "pictures, ended by CS-Fluctuation", "last", "random", "oracle")
MEASURES = ("distance", "unrelated_moved")


def picture_rule_table(runs: list[Record]) -> str:
    """Return how near each rule's step draws to held-out pictures, and how far unrelated drawings have moved.

    Both are cosine distances in an independent encoder, the first as a share of that before training. `random` is the
    mean over all kept steps, `oracle` the kept step that draws nearest.
    """

    def rows() -> Iterator[list[str]]:
        for arm in sorted({run["arm"] for run in runs}):
            mine = [run for run in runs if run["arm"] == arm]
            for rule in RULES:
                values = [[shown(run, rule, measure) for run in mine] for measure in MEASURES]
                less = estimate([(run["cluster"], _difference(run, rule)) for run in mine])
                change = "" if rule == "matched loss" else cell(less)
                yield [arm, rule, *(f"{fmean(found):.2f}" for found in values), change, size(less)]

    head = "run | step by | distance from held-out pictures | unrelated moved | distance - matched loss's, points"
    return table(f"{head} | runs (sets)", rows())


def shown(run: Record, rule: str, measure: str) -> float:
    """Return what a rule's step showed."""
    if rule == "random":
        return fmean(row[measure] for row in run["steps"])
    return next(float(row[measure]) for row in run["steps"] if row["step"] == run["chosen"][rule])


def _difference(run: Record, rule: str) -> float:
    return shown(run, rule, "distance") - shown(run, "matched loss", "distance")
