"""By what, on what and how strongly to protect: every arm against the paper's replay, and against none.

Every run stops by the same evidence, the plain surrogates', so that only what protects differs. Forgetting, distance
and swallowing are those of the published step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import log
from statistics import fmean
from typing import Any

from benchmarks.statistics import Estimate, Record, cluster, estimate, paired, pairs, ratio, unit
from benchmarks.tables.groups import FAMILIES, Means, best, cell, forgetting, kind, means, published, size, table
from benchmarks.tables.selection import MIXED, PLAIN

OTHER_SCORES = ("natural", "single", "datainf", "cosine", "kolossov", "oracle", "quarter", "auto")
HARMLESS = 0.01  # of the starting loss: what `auto` may cost
Arm = tuple[str, str]  # its name, and the rule that stops it


def cells(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Return every family with every kind of references that it has, in the order of the page."""
    found = {(record["family"], kind(record)) for record in records}
    return [(family, name) for family in FAMILIES for _, name in sorted(x for x in found if x[0] == family)]


def within(records: Iterable[Record], family: str, name: str) -> list[Record]:
    """Return the records of one family and kind."""
    return [record for record in records if record["family"] == family and kind(record) == name]


def protecting(records: Iterable[Record]) -> dict[str, Means]:
    """Return the arms that are compared, by what they protect with; other scores have a table of their own."""
    found = {record["arm"]: means(record) for record in records if record["gamma"]}
    chosen = {arm: its for arm, its in found.items() if not any(word in arm for word in OTHER_SCORES)}
    return dict(sorted(chosen.items(), key=lambda item: (item[1].gamma, item[1].protect, item[1].on, item[1].weight)))


def replayed(arm: str, arms: dict[str, Means]) -> str | None:
    """Return the arm that protects as the paper has it, in the same share of the slots and with the same selection."""
    wanted = Means("replay", 1.0, "pool", arms[arm].gamma)
    same = [name for name, its in arms.items() if its == wanted]
    if arm in same:
        return arm
    chosen = [name for name in same if name.split()[0] == arm.split()[0]] or [n for n in same if "influence" in n]
    return next(iter(chosen or same), None)


def protection_table(records: list[Record], pictures: list[Record]) -> str:
    """Return, by family and kind, what every protection keeps and costs."""

    def rows() -> Iterator[list[str]]:
        for family, name in cells(records):
            mine, seen = within(records, family, name), within(pictures, family, name)
            arms = protecting(mine)
            for arm, its in arms.items():
                paper = replayed(arm, arms)
                against = _Against(mine, (arm, MIXED), (paper, MIXED) if paper else None)
                if against.count:
                    yield [f"{FAMILIES[family]}, {name}", _label(arm, its), *against.cells(), *_seen(seen, mine, arm)]

    head = "data | protection | forgetting / replay's | / none's | distance / replay's | / none's"
    head += " | held-out - replay's | - none's | runs (clusters) | similarity / none's | swallowed - none's"
    return table(head, rows())


def _label(arm: str, its: Means) -> str:
    chosen = arm.split()[0]
    return f"{its.text}{' (random)' if chosen == 'random' else ''}"


class _Against:
    """Compare one arm with the paper's replay and with none."""

    def __init__(self, records: list[Record], arm: Arm, paper: Arm | None) -> None:
        self.records, self.arm = records, arm
        self.paper = paper if paper != arm else None
        self.count = len(pairs(records, arm, PLAIN, published))

    def cells(self) -> list[str]:
        """Return the cells of a row: ratios of forgetting and distance, differences of held-out loss, and the size."""
        ratios = [self._ratio(other, name) for name in ("forgetting", "kept") for other in (self.paper, PLAIN)]
        losses = [self._difference(other) for other in (self.paper, PLAIN)]
        return [*ratios, *(cell(loss) for loss in losses), size(losses[1]) if losses[1] else ""]

    def _ratio(self, other: Arm | None, name: str) -> str:
        known = [record for record in self.records if record.get(name) is not None]
        both = pairs(known, self.arm, other, lambda record: float(record[name])) if other else []
        return cell(ratio(both), 1, 2, "") if both else ""

    def _difference(self, other: Arm | None) -> Estimate | None:
        return paired(self.records, self.arm, other, published) if other else None


def _seen(pictures: list[Record], records: list[Record], arm: str) -> list[str]:
    """Return similarity over none's and swallowing less none's, in the pictures drawn nearest the published step."""
    stops = {(unit(r), r["arm"]): r["stop_step"] for r in records if (r["arm"], r["rule"]) in ((arm, MIXED), PLAIN)}
    similar, swallowed = [], []
    for place, row in {unit(row): row for row in pictures}.items():
        pair = [_nearest(pictures, place, name, stops.get((place, name))) for name in (arm, "none")]
        if pair[0] and pair[1]:
            similar.append((cluster(row), pair[0]["similarity"], pair[1]["similarity"]))
            swallowed.append((cluster(row), pair[0]["swallowed"] - pair[1]["swallowed"]))
    if not similar:
        return ["", ""]
    return [cell(ratio(similar), 1, 2, ""), cell(estimate(swallowed), 1, 2)]


def _nearest(pictures: list[Record], place: tuple[Any, ...], arm: str, step: int | None) -> Record | None:
    mine = [row for row in pictures if row["arm"] == arm and unit(row) == place]
    if not mine or step is None:
        return None
    return min(mine, key=lambda row: abs(log(row["step"] / step)))


def auto_table(records: list[Record]) -> str:
    """Return what `auto` came to: its loss on held-out data against none, also of the worst set, and forgetting."""

    def rows() -> Iterator[list[str]]:
        for family, name in cells(records):
            mine = within(records, family, name)
            both = pairs(mine, ("auto", "auto"), ("none", "auto"), best)
            if both:
                less = [(key, a - b) for key, a, b in both]
                worst = max(_less(mine, one).mean for one in {record["set"] for record in mine})
                above = fmean(value > HARMLESS for _, value in less)
                forgot = ratio(pairs(mine, ("auto", "auto"), ("none", "auto"), forgetting))
                mean = estimate(less)
                shown = [cell(mean), f"{100 * worst:+.1f}", f"{above:.0%}", cell(forgot, 1, 2, ""), size(mean)]
                yield [f"{FAMILIES[family]}, {name}", *shown]

    head = "data | held-out - none's | worst set | runs above +1 | forgetting / none's | runs (clusters)"
    return table(head, rows())


def _less(records: list[Record], name: str) -> Estimate:
    """Return what `auto` costs one set."""
    found = paired([record for record in records if record["set"] == name], ("auto", "auto"), ("none", "auto"), best)
    assert found is not None
    return found


def horizon_table(records: list[Record]) -> str:
    """Return how many runs were best at the end of what they were given: there a longer run might be better."""

    def rows() -> Iterator[list[str]]:
        for family, name in cells(records):
            mine = [r for r in within(records, family, name) if r["rule"] == "never" and r["arm"] != "auto"]
            for group, chosen in (("none", lambda r: not r["gamma"]), ("protected", lambda r: r["gamma"] > 0)):
                runs = [record for record in mine if chosen(record)]
                if runs:
                    at_end, steps = fmean(record["best_at_end"] for record in runs), runs[0]["horizon"]
                    yield [f"{FAMILIES[family]}, {name}", group, str(steps), f"{at_end:.0%}", str(len(runs))]

    return table("data | runs | horizon in steps | best at the horizon | of", rows())
