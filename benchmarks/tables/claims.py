"""Sentences of docs/method.md as numbers, each computed from records, so that none of them outlives what carried it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from benchmarks.statistics import Record, cluster, estimate, unit
from benchmarks.tables.groups import GROUPS, best, cell, size, table

Whole = dict[str, list[Record]]


def claims_tables(whole: Whole, folder: Path) -> dict[str, str]:
    """Return the tables of single claims by the names of their markers; `folder` has the smaller results."""
    return {"natural": natural_table(whole["records"])}


def natural_table(records: list[Record]) -> str:
    """Return how often mixing in the proportion of the data, m / (n + m), is worse than no backbone data."""

    def rows() -> Iterator[list[str]]:
        for group, belongs in GROUPS.items():
            losses = {(unit(r), r["arm"]): r for r in records if r["rule"] == "never" and belongs(r)}
            both = [(r, losses[place, "none"]) for (place, arm), r in losses.items() if arm == "influence natural"]
            if both:
                found = [(cluster(mixed), best(mixed) - best(plain)) for mixed, plain in both]
                worse = fmean(value > 0 for _, value in found)
                mean = estimate(found)
                yield [group, cell(mean), f"{worse:.0%}", size(mean)]

    return table("data | best step, natural mixing - none | runs in which it is worse | runs (clusters)", rows())
