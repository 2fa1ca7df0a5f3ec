"""By what means, on what and how strongly to protect: every arm against the paper's replay, and against none.

A run is looked at where it would have been published. All stop by the same evidence, the surrogates' without
protection, stretched so that references are seen as often; so only what protects differs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from math import log
from statistics import fmean

from benchmarks.statistics import Record, cluster, estimate, ratio, unit
from benchmarks.tables.groups import cell, size, table
from benchmarks.tables.study import NONE, Groups, Runs, arms, by_kind, distance, experiments, forgot, heldout, paper

# The arms that the first pages show: BAT as its paper has it, and what was found to keep more.
PRINCIPAL = (
    "replay 1 pool .5",
    "replay 4 pool .5",
    "distil 4 pool .5",
    "distil 4 own .5",
    "distil 4 captions .5",
    "replay 1 pool .25",
    "replay 4 pool .25",
    "distil 4 pool .25",
    "distil 4 own .25",
)
Measure = Callable[[Record, float], float]
Triples = list[tuple[str, float, float]]


def protection_table(groups: Groups, only: Collection[str] = ()) -> str:
    """Return what every arm, or those of `only`, keeps and what it costs."""

    def rows() -> Iterator[list[str]]:
        for name, mine in groups.items():
            for arm in arms(mine):
                runs = [one for one in experiments(mine) if arm in one]
                if runs and (not only or arm in only):
                    yield [name, arm, *_cells(arm, runs)]

    head = "data | arm | forgetting / replay's | / none's | distance / replay's | / none's"
    return table(f"{head} | held-out - replay's | - none's | runs (clusters)", rows())


def _cells(arm: str, runs: list[Runs]) -> list[str]:
    ratios = [_ratio(_pairs(arm, runs, other, value)) for value in (forgot, distance) for other in (paper, plain)]
    against_paper, against_none = (_pairs(arm, runs, other, heldout) for other in (paper, plain))
    less = estimate([(key, a - b) for key, a, b in against_none])
    than_paper = cell(estimate([(key, a - b) for key, a, b in against_paper])) if against_paper else ""
    return [*ratios, than_paper, cell(less), size(less)]


def plain(runs: Runs) -> str:
    """Return the arm without protection."""
    return NONE


def _pairs(arm: str, runs: list[Runs], other: Callable[[Runs], str | None], value: Measure) -> Triples:
    """Return (cluster, value of the arm, value of the other), each at its published step; none of an arm and itself."""
    found = [(one[arm], one[name]) for one in runs if (name := other(one)) and name != arm]
    return [(cluster(a), value(a, a["published"]), value(b, b["published"])) for a, b in found]


def _ratio(both: Triples) -> str:
    return cell(ratio(both), 1, 2, "") if both else ""


def horizon_table(records: list[Record]) -> str:
    """Return how many runs were best at the end of what they were given: there a longer run might be better."""

    def rows() -> Iterator[list[str]]:
        for name, mine in by_kind(records).items():
            for group, plain_only in (("none", True), ("all others", False)):
                runs = [run for run in mine if (run["arm"] == NONE) == plain_only]
                if runs:
                    at_end = fmean(run["best_at_end"] for run in runs)
                    steps = str(runs[0]["horizon"])
                    yield [name, group, steps, f"{at_end:.0%}", str(len(runs))]

    return table("data | arms | horizon in steps | best at the horizon | of runs", rows())


def sets_table(records: list[Record], only: Collection[str]) -> str:
    """Return, for the arms of `only`, in how many sets the held-out loss is above none's, and in which most."""

    def rows() -> Iterator[list[str]]:
        for name, mine in by_kind(records).items():
            for arm in only:
                by_set: dict[str, list[float]] = {}
                for one in experiments(mine):
                    if arm in one:
                        less = heldout(one[arm], one[arm]["published"]) - heldout(one[NONE], one[NONE]["published"])
                        by_set.setdefault(one[NONE]["set"], []).append(100 * less)
                means = sorted(((fmean(values), name) for name, values in by_set.items()), reverse=True)
                if means:
                    worst = ", ".join(f"{title} {value:+.1f}" for value, title in means[:3])
                    yield [name, arm, f"{sum(value > 1 for value, _ in means)} of {len(means)}", worst]

    return table("data | arm | sets above +1 | the three worst, held-out - none's", rows())


def seen_table(records: list[Record], pictures: list[Record]) -> str:
    """Return what is seen at the kept step nearest the published one: the subject, and unrelated prompts."""
    published = {(unit(run), run["arm"]): run["published"] for run in records}

    def rows() -> Iterator[list[str]]:
        for name, mine in by_kind(pictures).items():
            by_arm: dict[str, dict[object, Record]] = {}
            for row in mine:
                near = by_arm.setdefault(row["arm"], {})
                wanted, place = published.get((unit(row), row["arm"])), unit(row)
                if wanted and (place not in near or _far(row, wanted) < _far(near[place], wanted)):
                    near[place] = row
            for arm, near in by_arm.items():
                yield [name, arm, *_seen(near, by_arm.get(NONE, {}))]

    head = "data | arm | similarity / none's | in the backbone's features / none's | swallowed | - none's"
    return table(f"{head} | unrelated ones recognised | pictures of sets (clusters)", rows())


def _far(row: Record, wanted: float) -> float:
    return abs(log(row["step"] / wanted))


def _seen(near: dict[object, Record], without: dict[object, Record]) -> list[str]:
    both = [(row, without[place]) for place, row in near.items() if place in without]
    ratios = []
    for name in ("similarity", "backbone_similarity"):
        known = [(cluster(a), a[name], b[name]) for a, b in both if name in a and name in b and a is not b]
        ratios.append(_ratio(known))
    swallowed = estimate([(cluster(row), row["swallowed"]) for row in near.values()])
    less = [(cluster(a), a["swallowed"] - b["swallowed"]) for a, b in both if a is not b]
    recognised = [(cluster(row), row["recognised"]) for row in near.values() if "recognised" in row]
    shown = f"{estimate(recognised).mean:.0%}" if recognised else ""
    return [*ratios, f"{swallowed.mean:.2f}", cell(estimate(less), 1, 2) if less else "", shown, size(swallowed)]
