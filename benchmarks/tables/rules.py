"""When to stop: what every rule gives away, family by family, and what a job's word for its confidence is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from benchmarks.rules import NEEDS
from benchmarks.statistics import Record, cluster, estimate, excess, unit
from benchmarks.tables.groups import FAMILIES, table

RULES = (
    "auto",
    "matched loss K=4",
    "matched loss, in proportion",
    "matched loss K=2",
    "matched loss, stretched",
    "hold out a quarter",
    "one split, retrained",
    "CS, calibrated window",
    "c n / lr",
    "c n / lr, another family's c",
    "gradient SNR",
    "paper CS M=10",
    "permuted CS M=10",
    "fixed 2M, M=10",
    "paper CS M=30",
    "permuted CS M=30",
    "fixed 2M, M=30",
    "paper CS M=n",
    "permuted CS M=n",
    "fixed 2M, M=n",
    "settle M=10",
    "random step",
    "never",
    "oracle",
)
LAST = ("never", "oracle")
PRINCIPAL = ("auto", "matched loss K=4", "c n / lr", "paper CS M=10", "fixed 2M, M=10", "random step", "never")


COLUMNS = {  # what stands in the table: a family's runs without backbone data, and the small model's with `auto`
    **{(family, "none"): name for family, name in FAMILIES.items()},
    ("nano", "auto"): "small LM with gamma auto",
}


def rules_table(records: list[Record], rules: Sequence[str] = RULES) -> str:
    """Return the mean excess of every stopping rule in each family."""
    judged = [(record, value) for record, value in excess(records) if record["arm"] in ("none", "auto", "quarter")]
    columns = [place for place in COLUMNS if any((r["family"], r["arm"]) == place for r, _ in judged)]

    def rows() -> Iterator[list[str]]:
        for rule in _ordered({record["rule"] for record, _ in judged}, rules):
            shown = [_excess([(r, x) for r, x in judged if _stands(r, rule, *place)]) for place in columns]
            if any(shown):
                yield [rule, NEEDS.get(rule, "nothing"), *shown]

    return table(f"rule | needs | {' | '.join(COLUMNS[place] for place in columns)}", rows())


def _stands(record: Record, rule: str, family: str, arm: str) -> bool:
    # the rule that trains on three quarters ships that run, which is an arm of its own
    shipped = "quarter" if rule == "hold out a quarter" and arm == "none" else arm
    return bool((record["family"], record["arm"], record["rule"]) == (family, shipped, rule))


def _ordered(found: set[str], rules: Sequence[str]) -> list[str]:
    """Return the rules in the order of the table, those that it does not know before the last."""
    known = [rule for rule in rules if rule in found and rule not in LAST]
    unknown = sorted(found - set(RULES)) if rules == RULES else []
    return [*known, *unknown, *(rule for rule in LAST if rule in found)]


def _excess(found: list[tuple[Record, float]]) -> str:
    """Return the mean excess with its interval, and the share of runs that end worse than without adapting."""
    if not found:
        return ""
    mean = estimate([(cluster(record), value) for record, value in found])
    return f"{mean.text(1, 2, '')}; {fmean(value > 1 for _, value in found):.0%}"


def confidence_table(records: list[Record], facts: list[Record]) -> str:
    """Return, by what a job would say of its confidence, how near the best step it stopped."""
    levels = {unit(fact): fact["confidence"] for fact in facts}
    judged = [(r, x) for r, x in excess(records) if (r["arm"], r["rule"]) == ("none", "matched loss K=4")]

    def rows() -> Iterator[list[str]]:
        for level in ("high", "medium", "low"):
            mine = [(record, value) for record, value in judged if levels.get(unit(record)) == level]
            if mine:
                near = fmean(0.5 <= record["stop_step"] / record["best_step"] <= 2 for record, _ in mine)
                given_away = fmean(value for _, value in mine)
                yield [level, f"{len(mine) / len(judged):.0%}", f"{near:.0%}", f"{given_away:.2f}"]

    return table("confidence | share of runs | within twice the best step | mean excess", rows())
