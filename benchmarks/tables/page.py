"""Put the tables between their markers in README.md and the docs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.method import RESULTS
from benchmarks.records import SECTIONS
from benchmarks.statistics import Record
from benchmarks.tables.budgets import budgets_table
from benchmarks.tables.claims import first_part_table, foreigners_table, natural_table, precision_table, triggers_table
from benchmarks.tables.constant import by_constant
from benchmarks.tables.equal import equal_table, wrong_stop_of_replay, wrong_stop_table
from benchmarks.tables.gpu import gpu_table
from benchmarks.tables.groups import confirmed
from benchmarks.tables.jobs import presets_table, voices_table
from benchmarks.tables.picture_rule import picture_rule_table
from benchmarks.tables.protection import PRINCIPAL, horizon_table, protection_table, seen_table, sets_table
from benchmarks.tables.replays import judged, stopped
from benchmarks.tables.rules import PRINCIPAL as PRINCIPAL_RULES
from benchmarks.tables.rules import confidence_table, rules_table
from benchmarks.tables.scores import bias_table, forecasts_table, retraining_table, scores_table, trials_table
from benchmarks.tables.selection import arms_table, auto_table, selection_table, shipped_table
from benchmarks.tables.study import by_family, by_kind

FOLDER = RESULTS.parent
ROOT = FOLDER.parents[1]
# what a newcomer sees, what is said, and every table
PAGES = tuple(ROOT / name for name in ("README.md", "docs/method.md", "docs/evidence.md", "docs/page.md"))
Whole = dict[str, list[Record]]


def read(results: Path = RESULTS) -> Whole:
    """Return the records of the benchmark.

    Of families that it has not been run on since, those of before there was anything but replay at weight 1.
    """
    whole = _sections(results, SECTIONS)
    known = {fact["family"] for fact in whole["facts"]}
    earlier = _sections(FOLDER / "replay.json" if results == RESULTS else Path(), SECTIONS)
    return {name: rows + [row for row in earlier[name] if row["family"] not in known] for name, rows in whole.items()}


def read_study(file: Path = FOLDER / "protection.json") -> Whole:
    """Return the records of the study of protection."""
    return _sections(file, ("records", "facts", "pictures", "auto"))


def _sections(file: Path, names: Iterable[str]) -> Whole:
    found: Whole = json.loads(file.read_text()) if file.is_file() else {}
    return {name: found.get(name, []) for name in names}


def tables(whole: Whole, study: Whole, folder: Path = FOLDER) -> dict[str, str]:
    """Return every table by the name of its marker; `folder` has the smaller results beside the records."""
    return {**_of_study(study), **_of_rules(whole, study), **_of_scores(whole), **_of_files(folder, study)}


def _of_study(study: Whole) -> dict[str, str]:
    records = study["records"]
    first, once = ([run for run in records if confirmed(run) == late] for late in (False, True))
    return {
        "protection": protection_table(by_family(first), PRINCIPAL),
        "protection-all": protection_table(by_kind(first)),
        "protection-confirmed": protection_table(by_family(once), PRINCIPAL),
        "protection-sets": sets_table(records, PRINCIPAL),
        "seen": seen_table(records, study["pictures"]),
        "equal": equal_table(records),
        "wrong-stop": wrong_stop_table(records),
        "horizon": horizon_table(records),
        "shipped": shipped_table(study["auto"]),
    }


def _of_rules(whole: Whole, study: Whole) -> dict[str, str]:
    replayed, curves = stopped(study["records"], study["facts"])
    families = {run["family"] for run in curves} - {"nano"}  # of which runs with other arms are there too
    again = {(row["family"], row["arm"], row["rule"]) for row in replayed}
    kept = [row for row in whole["records"] if (row["family"], row["arm"], row["rule"]) not in again]
    records = [row for row in kept if row["family"] not in families] + replayed
    records += by_constant(records, [*whole["curves"], *curves])
    once = [record for record in records if confirmed(record)]
    return {
        "rules": rules_table(records),
        "rules-confirmed": rules_table(once, PRINCIPAL_RULES),
        "confidence": confidence_table(records, [*whole["facts"], *map(judged, study["facts"])]),
    }


def _of_scores(whole: Whole) -> dict[str, str]:
    records, facts = whole["records"], whole["facts"]
    once = [record for record in records if confirmed(record) and record["family"] == "nano"]
    return {
        "arms": arms_table(records),
        "auto": auto_table(records),
        "natural": natural_table(records),
        "selection": selection_table(records),
        "selection-confirmed": selection_table(once),
        "scores": scores_table(facts),
        "trials": trials_table(records, facts),
        "wrong-stop-replay": wrong_stop_of_replay(records),
    }


def _of_files(folder: Path, study: Whole) -> dict[str, str]:
    claims: Any = _json(folder / "claims.json", {})
    return {
        "retraining": retraining_table(_json(folder / "retraining.json", [])),
        "foreigners": foreigners_table(claims.get("foreigners", [])),
        "forecasts": forecasts_table(claims.get("forecasts", []), study),
        "first-part": first_part_table(claims.get("first_part", []), claims.get("noise", [])),
        "trial-bias": bias_table(_json(folder / "trial_bias.json", [])),
        "picture-rule": picture_rule_table(_json(folder / "picture_rule.json", [])),
        "triggers": triggers_table(claims.get("triggers", [])),
        "precision": precision_table(claims.get("precision", [])),
        "generated": protection_table(by_kind(_json(folder / "generated.json", {"records": []})["records"])),
        "presets": presets_table(_json(folder / "presets.json", [])),
        "voices": voices_table(_json(folder / "gemma3.json", [])),
        "gpu": gpu_table(_json(folder / "gpu.json", {})),
        "page": budgets_table(_json(folder / "page.json", {})),
    }


def _json(file: Path, missing: Any) -> Any:
    return json.loads(file.read_text()) if file.is_file() else missing


def insert(text: str, name: str, table: str) -> str:
    """Return the text with what stands between the table's two markers replaced."""
    begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
    if begin not in text:
        return text
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{table}\n{end}{after}"


def filled(text: str, made: dict[str, str]) -> str:
    """Return the text with all of its tables."""
    for name, table in made.items():
        text = insert(text, name, table)
    return text


def main() -> None:
    """Write or show the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--show", action="store_true", help="print the tables and write nothing")
    chosen = parser.parse_args()
    made = tables(read(chosen.results), read_study())
    if chosen.show:
        print("\n\n".join(f"{name}\n{table}" for name, table in made.items()))
        return
    for page in PAGES:
        page.write_text(filled(page.read_text(), made))
