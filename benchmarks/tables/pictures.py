"""What is seen: swallowing and drift of unrelated prompts where the arms' subjects have come equally far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import fmean
from typing import Any

from benchmarks.statistics import Record, cluster, estimate, unit
from benchmarks.tables.groups import cell, table

ARMS = ("none", "random .5", "influence .5")


def pictures_table(pictures: list[Record]) -> str:
    """Return swallowing and drift of unrelated prompts at the same similarity of the subject."""

    def rows() -> Iterator[list[str]]:
        for name in sorted({row["set"] for row in pictures}):
            arms = [arm for arm in ARMS if any(row["arm"] == arm for row in pictures)]
            places = sorted({unit(row) for row in pictures if row["set"] == name})
            for arm in arms:
                mine = [row for place in places if (row := matched(pictures, place, arm, arms))]
                if mine:
                    yield [name, arm, *(f"{fmean(row[i] for row in mine):.2f}" for i in range(3))]
        for arm in ARMS[1:] if pictures else ():
            yield ["all", f"{arm} - none", "", _less(pictures, arm, 1), _less(pictures, arm, 2)]

    return table("set | arm | similarity reached | swallowed there | drift there", rows())


def _less(pictures: list[Record], arm: str, place: int) -> str:
    """Return what an arm changes against no backbone data, paired, at the same similarity."""
    found = []
    for one, row in {unit(row): row for row in pictures}.items():
        pair = [matched(pictures, one, name, ARMS) for name in (arm, "none")]
        if pair[0] and pair[1]:
            found.append((cluster(row), pair[0][place] - pair[1][place]))
    return cell(estimate(found), 1, 2) if found else ""


def matched(
    pictures: list[Record], place: tuple[Any, ...], arm: str, arms: Iterable[str]
) -> tuple[float, float, float] | None:
    """Return (similarity, swallowed, drift) of an arm at the similarity that every arm of the experiment reaches."""
    curves = {}
    for name in arms:
        rows = sorted((r for r in pictures if unit(r) == place and r["arm"] == name), key=lambda r: r["step"])
        curves[name] = [(0.0, 0.0, 0.0)] + [(r["similarity"], r["swallowed"], r["drift"]) for r in rows]
    level = min(max(similarity for similarity, _, _ in curve) for curve in curves.values())
    if level <= 0:
        return None
    before = curves[arm][0]
    for point in curves[arm][1:]:
        if point[0] >= level:
            share = (level - before[0]) / (point[0] - before[0])
            swallowed, drift = (before[i] + share * (point[i] - before[i]) for i in (1, 2))
            return level, swallowed, drift
        before = point
    return None
