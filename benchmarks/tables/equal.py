"""The same comparison at equal exposures and at equal compute, and what a wrong stop costs: read off whole curves.

Equal exposures: a run whose slots hold a share gamma of backbone data is looked at after 1 / (1 - gamma) times the
steps, when it has seen every reference as often. Equal compute: after as many steps or, where the frozen backbone has
to predict the protecting slots too, after as many less as that forward pass costs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy

from benchmarks.statistics import Record, Values, cluster, estimate, ratio, unit
from benchmarks.tables.groups import FAMILIES, cell, size, table
from benchmarks.tables.protection import cells, protecting, within
from benchmarks.tables.selection import PLAIN

FORWARD = 1 / 3  # what a forward pass without gradients costs of a training step


def at(curve: Record, series: str, step: float) -> float:
    """Return a series of a curve at any step, interpolated in the logarithm of the step."""
    return float(numpy.interp(numpy.log1p(step), numpy.log1p(curve["steps"]), curve[series]))


def equal_table(records: list[Record], curves: list[Record]) -> str:
    """Return every protection against none at the step that none publishes, at equal exposures and equal compute."""
    stops = {unit(r): r["stop_step"] for r in records if (r["arm"], r["rule"]) == PLAIN}

    def rows() -> Iterator[list[str]]:
        for family, name in cells(curves):
            mine = within(curves, family, name)
            plain = {unit(curve): curve for curve in mine if curve["arm"] == "none" and unit(curve) in stops}
            for arm, its in protecting(mine).items():
                runs = [c for c in mine if c["arm"] == arm and unit(c) in plain]
                frozen = its.protect in ("distil", "both")
                shares = 1 / (1 - its.gamma), 1 / (1 + FORWARD * its.gamma * frozen)
                pairs = [[(run, plain[unit(run)], stops[unit(run)], share) for run in runs] for share in shares]
                if runs:
                    found = [part for compared in pairs for part in _compared(compared)]
                    yield [f"{FAMILIES[family]}, {name}", its.text, *found, f"{len(runs)}"]

    head = "data | protection | equal exposures: held-out - none's | forgetting / none's"
    return table(f"{head} | equal compute: held-out - none's | forgetting / none's | runs", rows())


def _compared(runs: list[tuple[Record, Record, float, float]]) -> list[str]:
    losses: list[tuple[str, float]] = []
    forgot: list[tuple[str, float, float]] = []
    for run, plain, step, share in runs:
        later = min(step * share, run["steps"][-1])
        start = plain["heldout"][0]
        losses.append((cluster(run), (at(run, "heldout", later) - at(plain, "heldout", step)) / start))
        forgot.append(
            (cluster(run), *(at(c, "probe", s) / c["probe"][0] - 1 for c, s in ((run, later), (plain, step))))
        )
    return [cell(estimate(losses)), cell(ratio(forgot), 1, 2, "")]


def wrong_stop_table(records: list[Record], curves: list[Record]) -> str:
    """Return how much worse than its best a run is at twice its best step and at its end, in points of the start."""

    def rows() -> Iterator[list[str]]:
        for family, name in cells(records):
            ends = [r for r in within(records, family, name) if r["rule"] == "never"]
            chosen = {"none": None, **protecting(ends)}
            for arm, its in chosen.items():
                late = [c for c in within(curves, family, name) if c["arm"] == arm]
                twice: Values = [(cluster(c), _lost(c, 2 * c["best_step"])) for c in late]
                last: Values = [
                    (cluster(r), (r["heldout_at_stop"] - r["heldout_best"]) / r["heldout_start"])
                    for r in ends
                    if r["arm"] == arm
                ]
                if last:
                    end = estimate(last)
                    label = its.text if its else "none"
                    label += " (random)" if arm.startswith("random") else ""
                    yield [
                        f"{FAMILIES[family]}, {name}",
                        label,
                        estimate(twice).text() if twice else "",
                        end.text(),
                        size(end),
                    ]

    return table("data | protection | at twice the best step | at the horizon | runs (clusters)", rows())


def _lost(curve: Record, step: float) -> float:
    return (at(curve, "heldout", step) - min(curve["heldout"][1:])) / float(curve["heldout"][0])
