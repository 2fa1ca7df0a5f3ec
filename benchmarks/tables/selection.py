"""What is replayed: every arm against no backbone data, and influence against random replay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import fmean

from benchmarks.statistics import Estimate, Record, cluster, estimate, paired, pairs, ratio
from benchmarks.tables.groups import GROUPS, best, cell, forgetting, published, size, table
from benchmarks.tables.study import NONE, by_family, forgot, heldout

ARMS = (
    "random .25",
    "random .5",
    "influence .25",
    "influence .5",
    "auto",
    "influence natural",
    "kolossov_bartlett .5",
    "oracle .5",
)
# Every arm stops by the same evidence, the plain surrogates', so that only what is replayed differs; `auto` by its own.
PLAIN, MIXED, OWN = ("none", "matched loss K=4"), "matched loss, stretched", "auto"
AUTO, ALONE = ("auto", OWN), ("none", OWN)
HARMLESS = 0.01  # of the starting loss: what `auto` may cost
MEASURED = (best, published, forgetting)
COMPARED = (
    ("influence .25", "random .25"),
    ("influence .5", "random .5"),
    ("influence .5", "single scores .5"),
    ("influence .5", "datainf .5"),
    ("influence .5", "cosine .5"),
    ("influence .5", "kolossov_bartlett .5"),
)


def arms_table(records: list[Record]) -> str:
    """Return every arm against no backbone data."""

    def rows() -> Iterator[list[str]]:
        for group, belongs in GROUPS.items():
            mine = [record for record in records if belongs(record)]
            for arm in ARMS:
                run, plain = ((arm, OWN), ("none", OWN)) if arm == "auto" else ((arm, MIXED), PLAIN)
                yield from _row(mine, run, plain, [group, arm])

    return table("data | arm | best step | published step | forgetting | runs (clusters)", rows())


def selection_table(records: list[Record]) -> str:
    """Return influence, pooled over sources, against other ways to choose, at the same gamma."""

    def rows() -> Iterator[list[str]]:
        for group, belongs in GROUPS.items():
            mine = [record for record in records if belongs(record)]
            for first, second in COMPARED:
                yield from _row(mine, (first, MIXED), (second, MIXED), [group, f"{first} - {second}"])

    return table("data | difference | best step | published step | forgetting | runs (clusters)", rows())


def auto_table(records: list[Record]) -> str:
    """Return what `auto` came to: its loss on held-out data against none, also in the worst set, and forgetting."""

    def rows() -> Iterator[list[str]]:
        for group, belongs in GROUPS.items():
            mine = [record for record in records if belongs(record)]
            both = pairs(mine, AUTO, ALONE, best)
            if both:
                less = [(key, a - b) for key, a, b in both]
                worst = max(_less(mine, name) for name in {record["set"] for record in mine})
                above = fmean(value > HARMLESS for _, value in less)
                forgot = ratio(pairs(mine, AUTO, ALONE, forgetting))
                mean = estimate(less)
                yield [group, cell(mean), f"{100 * worst:+.1f}", f"{above:.0%}", cell(forgot, 1, 2, ""), size(mean)]

    head = "data | held-out - none's | worst set | runs above +1 | forgetting / none's | runs (clusters)"
    return table(head, rows())


def _less(records: list[Record], name: str) -> float:
    """Return what `auto` costs one set."""
    both = pairs([record for record in records if record["set"] == name], AUTO, ALONE, best)
    return fmean(a - b for _, a, b in both)


def _row(
    records: list[Record], first: tuple[str, str], second: tuple[str, str], head: list[str]
) -> Iterator[list[str]]:
    values = [paired(records, first, second, value) for value in MEASURED]
    found: Estimate | None = values[0]
    if found is not None:
        yield [*head, *map(cell, values), size(found)]


def shipped_table(rows: list[Record]) -> str:
    """Return what `auto` came to in every family, of the sets whose preset protects."""

    def lines() -> Iterator[list[str]]:
        for name, mine in by_family(row for row in rows if row["trials"]).items():
            costs = [(cluster(row), cost(row)) for row in mine]
            kept = [row for row in mine if row["gamma"]]
            shares = ratio([(cluster(row), *forgotten(row)) for row in kept]) if kept else None
            mean, above = estimate(costs), sum(value > HARMLESS for _, value in costs)
            worst = max(mine, key=cost)
            held = [trial_held(row) for row in kept]
            yield [
                name,
                ", ".join(f"{gamma:g}: {count}" for gamma, count in decisions(mine)),
                cell(mean),
                f"{worst['set']} {100 * cost(worst):+.1f}",
                f"{above} of {len(mine)}",
                cell(shares, 1, 2, ""),
                f"{sum(held)} of {len(held)}",
                size(mean),
            ]

    head = "data | gamma that was decided: sets | held-out - none's | worst set | above +1 | forgetting / none's"
    return table(f"{head} | trial's interval held | runs (clusters)", lines())


def decisions(rows: Iterable[Record]) -> list[tuple[float, int]]:
    """Return how often each share was decided, largest first."""
    found = [row["gamma"] for row in rows]
    return [(gamma, found.count(gamma)) for gamma in sorted(set(found), reverse=True)]


def cost(row: Record) -> float:
    """Return held-out loss above none's, each at its published step; nothing where `auto` came to none."""
    if not row["gamma"]:
        return 0.0
    auto, none = row["runs"]["auto"], row["runs"][NONE]
    return heldout(auto, auto["published"]) - heldout(none, none["published"])


def forgotten(row: Record) -> tuple[float, float]:
    """Return the rise of the loss on the probe with `auto` and with none, each at its published step."""
    auto, none = row["runs"]["auto"], row["runs"][NONE]
    return forgot(auto, auto["published"]), forgot(none, none["published"])


def trial_held(row: Record) -> bool:
    """Tell whether the interval of the trial that decided held what the mixture gained on unseen data at best."""
    low, high = row["trials"][-1]["interval"]
    least = {name: min(run["heldout"][1:]) / run["heldout"][0] for name, run in row["runs"].items()}
    return bool(low <= least[NONE] - least["auto"] <= high)
