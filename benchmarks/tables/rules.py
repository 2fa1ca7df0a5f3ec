"""When to stop: what every rule gives away, family by family, and what a job's word for its confidence is worth."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from benchmarks.statistics import Record, cluster, estimate, excess, unit
from benchmarks.tables.groups import FAMILIES, table

HELD_OUT = {  # rules that train surrogates, or hold data out
    "auto",
    "matched loss K=4",
    "matched loss K=2",
    "matched loss, stretched",
    "hold out a quarter",
    "CS, calibrated window",
}
RULES = (
    "auto",
    "matched loss K=4",
    "matched loss K=2",
    "matched loss, stretched",
    "hold out a quarter",
    "CS, calibrated window",
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
    "never",
)


def rules_table(records: list[Record], arm: str = "none") -> str:
    """Return the mean excess of every stopping rule in each family, for one arm."""
    judged = [(record, value) for record, value in excess(records) if record["arm"] in (arm, "quarter")]
    families = [family for family in FAMILIES if any(record["family"] == family for record, _ in judged)]

    def rows() -> Iterator[list[str]]:
        for rule in _ordered({record["rule"] for record, _ in judged}):
            # the rule that trains on three quarters ships that run, which is an arm of its own
            name = "quarter" if rule == "hold out a quarter" else arm
            if name == "quarter" and arm != "none":
                continue
            cells = []
            for family in families:
                mine = [(r, x) for r, x in judged if (r["family"], r["arm"], r["rule"]) == (family, name, rule)]
                cells.append(_excess(mine))
            if any(cells):
                yield [rule, "yes" if rule in HELD_OUT else "no", *cells]

    return table("rule | held-out data | " + " | ".join(FAMILIES[family] for family in families), rows())


def _ordered(rules: set[str]) -> list[str]:
    """Return the rules in the order of the table, those that it does not know before `never`."""
    known = [rule for rule in RULES if rule in rules and rule != "never"]
    return [*known, *sorted(rules - set(RULES)), *(["never"] if "never" in rules else [])]


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
