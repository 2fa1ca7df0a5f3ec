"""Write the tables of the method benchmark into docs/method.md, between their markers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import correlation, fmean
from typing import Any

from benchmarks.method import RESULTS
from benchmarks.statistics import Estimate, Record, cluster, estimate, excess, paired, unit
from core.method.mixing.trial import PRECAUTION, TOLERATED

ROOT = RESULTS.parents[2]
RETRAINED = RESULTS.with_name("retraining.json")
PAGE = ROOT / "docs/method.md"
CONFIRMED_FROM = 6  # seeds of the small model that were run once, after everything had been decided
ARMS = (
    "random .25",
    "random .5",
    "influence .25",
    "influence .5",
    "auto",
    "influence natural",
    "single scores .5",
    "datainf .5",
    "cosine .5",
    "kolossov_bartlett .5",
    "oracle .5",
)
# Every arm stops by the same evidence, the plain surrogates', so that only what is replayed differs; `auto` by its own.
PLAIN, MIXED, OWN = ("none", "matched loss K=4"), "matched loss, stretched", "auto"
RULES = (
    "auto",
    "matched loss K=4",
    "matched loss K=2",
    "matched loss, stretched",
    "hold out a quarter",
    "gradient SNR",
    "CS, calibrated window",
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


def related(record: Record) -> bool:
    """Whether the small model's pool holds much of the references' own source."""
    return record["pool"] != "unrelated" and record["set"] in ("near", "dialect")


GROUPS: dict[str, Callable[[Record], bool]] = {
    "small LM, related data in the pool": lambda r: r["family"] == "nano" and related(r),
    "small LM, no or thinly related data": lambda r: r["family"] == "nano" and not related(r),
    "emoji LDM": lambda r: r["family"] == "emoji",
    "SmolLM2-135M": lambda r: r["family"] == "smollm2",
}


def best(record: Record) -> float:
    """Return the held-out loss at the run's own best step, relative to the start; negative is better."""
    return record["heldout_best"] / record["heldout_start"]


def published(record: Record) -> float:
    """Return the held-out loss at the published step, relative to the start."""
    return record["heldout_at_stop"] / record["heldout_start"]


def forgetting(record: Record) -> float:
    """Return the rise of the loss on backbone data at the published step."""
    return record["forgetting"]


def arms_table(records: list[Record]) -> str:
    """Return every arm against no backbone data, and influence against random replay."""
    lines = ["| data | arm | best step | published step | forgetting | runs |", "|---|---|---|---|---|---|"]
    everything: dict[str, Callable[[Record], bool]] = {"all families": lambda record: True}
    for group, belongs in {**everything, **GROUPS}.items():
        mine = [record for record in records if belongs(record)]
        for arm in ARMS if group in GROUPS else ("auto",):
            run, plain = ((arm, OWN), ("none", OWN)) if arm == "auto" else ((arm, MIXED), PLAIN)
            values = [paired(mine, run, plain, value) for value in (best, published, forgetting)]
            if values[0] is not None:
                cells = " | ".join(_cell(value) for value in values)
                lines.append(f"| {group} | {arm} | {cells} | {values[0].count} |")
    return "\n".join(lines)


def selection_table(records: list[Record]) -> str:
    """Return influence against random replay at the same gamma."""
    lines = ["| data | influence - random | best step | published step | forgetting |", "|---|---|---|---|---|"]
    for group, belongs in GROUPS.items():
        mine = [record for record in records if belongs(record)]
        for gamma in (".25", ".5"):
            pair = (f"influence {gamma}", MIXED), (f"random {gamma}", MIXED)
            values = [paired(mine, *pair, value) for value in (best, published, forgetting)]
            if values[0] is not None:
                lines.append(f"| {group} | gamma {gamma} | " + " | ".join(_cell(value) for value in values) + " |")
    return "\n".join(lines)


def rules_table(records: list[Record]) -> str:
    """Return the mean excess of every stopping rule, without backbone data and with gamma="auto"."""
    judged = excess(records)
    lines = [
        "| rule | alone: excess | worse than none | gamma auto: excess | worse than none |",
        "|---|---|---|---|---|",
    ]
    for rule in RULES:
        cells = []
        for arm in ("none", "auto"):
            # the rule that trains on three quarters ships that run, which is an arm of its own
            name = "quarter" if rule == "hold out a quarter" else arm
            mine = [(record, value) for record, value in judged if (record["arm"], record["rule"]) == (name, rule)]
            found = [(cluster(unit(record)), value) for record, value in mine]
            cells += _excess_cells(found) if found and not (name == "quarter" and arm == "auto") else ["", ""]
        if any(cells):
            lines.append(f"| {rule} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _excess_cells(found: list[tuple[Any, float]]) -> list[str]:
    mean = estimate(found)
    return [f"{mean.mean:.2f} [{mean.low:.2f}, {mean.high:.2f}]", f"{fmean(v > 1 for _, v in found):.0%}"]


def scores_table(facts: list[Record]) -> str:
    """Return how often scores found the right source and shuffled data, and how well they repeat, by n."""
    lines = ["| data | n | reliability | right source, x chance | shuffled, x chance |", "|---|---|---|---|---|"]
    for group, belongs in GROUPS.items():
        for n in sorted({fact["n"] for fact in facts if belongs(fact)}):
            mine = [fact for fact in facts if belongs(fact) and fact["n"] == n]
            right = [x for fact in mine if (x := fact["right_share"].get("influence")) is not None]
            shuffled = [x for fact in mine if (x := fact["shuffled_share"].get("influence")) is not None]
            repeat = [fact["reliability"] for fact in mine if fact["reliability"] is not None]
            lines.append(f"| {group} | {n} | {_mean(repeat)} | {_mean(right)} | {_mean(shuffled)} |")
    return "\n".join(lines)


def retraining_table(rows: list[Record]) -> str:
    """Return the rank correlation of scores with exact retraining, and the most that its noise allows."""
    lines = ["| score | single candidates | groups of eight of one source |", "|---|---|---|"]
    for score in ("influence", "datainf", "cosine", "kolossov_bartlett", "ceiling"):
        keys = [f"{score}, {part}" for part in ("single", "groups")]
        lines.append(f"| {score} | " + " | ".join(f"{fmean(row[key] for row in rows):+.2f}" for key in keys) + " |")
    return "\n".join(lines)


def trials_table(records: list[Record], facts: list[Record]) -> str:
    """Return what the trial on held-out references said, and what mixing then truly did at each run's best step."""
    lines = ["| forecast | gamma | says | experiments | true effect on held-out loss |", "|---|---|---|---|---|"]
    for gamma in ("0.25", "0.5"):
        arm, found = f"influence {gamma[1:]}", []
        for fact in facts:
            mine = [r for r in records if r["rule"] == "never" and r["arm"] in (arm, "none") and unit(r) == unit(fact)]
            losses = {record["arm"]: best(record) for record in mine}
            if len(losses) == 2 and gamma in fact["trials"]:
                found.append((fact, losses[arm] - losses["none"]))
        sayings = (("trial", lambda f, g=gamma: said_by(f["trials"][g])), ("error law", lambda f: f["law_verdict"]))
        for forecast, said in sayings:
            for verdict in ("helps", "neutral", "harms"):
                values = [(cluster(unit(fact)), value) for fact, value in found if said(fact) == verdict]
                if values:
                    cells = f"{len(values)} | {_cell(estimate(values))}"
                    lines.append(f"| {forecast} | {float(gamma):g} | {verdict} | {cells} |")
        if len(found) > 2:
            agreement = correlation(
                [-fact["trials"][gamma]["gain"] for fact, _ in found], [value for _, value in found]
            )
            lines.append(f"| trial | {float(gamma):g} | correlation | {len(found)} | {agreement:.2f} |")
    return "\n".join(lines)


def said_by(trial: Record) -> str:
    """Return a trial's verdict by the present thresholds, which may be younger than the record."""
    if trial["gain"] < -max(PRECAUTION * trial["error"], TOLERATED):
        return "harms"
    return "helps" if trial["verdict"] == "helps" else "neutral"


def confidence_table(records: list[Record], facts: list[Record]) -> str:
    """Return, by what a job would say of its confidence, how near the best step it stopped."""
    levels = {unit(fact): fact["confidence"] for fact in facts}
    judged = [(r, x) for r, x in excess(records) if (r["arm"], r["rule"]) == ("none", "matched loss K=4")]
    lines = ["| confidence | share of runs | within twice the best step | mean excess |", "|---|---|---|---|"]
    for level in ("high", "medium", "low"):
        mine = [(record, value) for record, value in judged if levels.get(unit(record)) == level]
        if mine:
            near = fmean(0.5 <= record["stop_step"] / record["best_step"] <= 2 for record, _ in mine)
            given_away = fmean(value for _, value in mine)
            lines.append(f"| {level} | {len(mine) / len(judged):.0%} | {near:.0%} | {given_away:.2f} |")
    return "\n".join(lines)


def pictures_table(pictures: list[Record]) -> str:
    """Return swallowing and drift of unrelated prompts at the same similarity of the subject."""
    lines = ["| set | arm | similarity reached | swallowed there | drift there |", "|---|---|---|---|---|"]
    for name in sorted({row["set"] for row in pictures}):
        arms = [arm for arm in ("none", "random .5", "influence .5") if any(row["arm"] == arm for row in pictures)]
        places = sorted({unit(row) for row in pictures if row["set"] == name})
        for arm in arms:
            mine = [row for place in places if (row := matched(pictures, place, arm, arms))]
            if mine:
                cells = " | ".join(f"{fmean(row[i] for row in mine):.2f}" for i in range(3))
                lines.append(f"| {name} | {arm} | {cells} |")
    for arm in ("random .5", "influence .5"):
        lines.append(f"| all | {arm} - none | | {_less(pictures, arm, 1)} | {_less(pictures, arm, 2)} |")
    return "\n".join(lines)


def _less(pictures: list[Record], arm: str, place: int) -> str:
    """Return what an arm changes against no backbone data, paired, at the same similarity."""
    found = []
    for one in sorted({unit(row) for row in pictures}):
        pair = [matched(pictures, one, name, ("none", "random .5", "influence .5")) for name in (arm, "none")]
        if pair[0] and pair[1]:
            found.append((cluster(one), pair[0][place] - pair[1][place]))
    return _cell(estimate(found), 1, 2) if found else ""


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


def _mean(values: list[float]) -> str:
    return f"{fmean(values):.2f}" if values else ""


def _cell(value: Estimate | None, scale: float = 100.0, digits: int = 1) -> str:
    if value is None:
        return ""
    text = value.text(scale, digits)
    return f"**{text}**" if value.clear else text


def tables(whole: dict[str, list[Record]]) -> dict[str, str]:
    """Return every table by the name of its marker."""
    confirmed = [r for r in whole["records"] if r["family"] == "nano" and r["seed"] >= CONFIRMED_FROM]
    return {
        "arms": arms_table(whole["records"]),
        "selection": selection_table(whole["records"]),
        "rules": rules_table(whole["records"]),
        "rules-confirmed": rules_table(confirmed) if confirmed else "",
        "selection-confirmed": selection_table(confirmed) if confirmed else "",
        "scores": scores_table(whole["facts"]),
        "retraining": retraining_table(json.loads(RETRAINED.read_text())),
        "trials": trials_table(whole["records"], whole["facts"]),
        "confidence": confidence_table(whole["records"], whole["facts"]),
        "pictures": pictures_table(whole["pictures"]),
    }


def insert(text: str, name: str, table: str) -> str:
    """Return the text with what stands between the table's two markers replaced."""
    begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
    if begin not in text:
        return text
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{table}\n{end}{after}"


def main() -> None:
    """Write or show the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--show", action="store_true", help="print the tables and write nothing")
    chosen = parser.parse_args()
    made = tables(json.loads(chosen.results.read_text()))
    if chosen.show:
        print("\n\n".join(f"{name}\n{table}" for name, table in made.items()))
        return
    text = PAGE.read_text()
    for name, table in made.items():
        text = insert(text, name, table)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
