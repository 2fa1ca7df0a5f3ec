"""Put the tables between their markers in docs/method.md."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.method import RESULTS
from benchmarks.records import SECTIONS
from benchmarks.statistics import Record
from benchmarks.tables.claims import claims_tables
from benchmarks.tables.equal import equal_table, wrong_stop_table
from benchmarks.tables.groups import confirmed
from benchmarks.tables.picture_rule import picture_rule_table
from benchmarks.tables.pictures import pictures_table
from benchmarks.tables.protection import auto_table, horizon_table, protection_table
from benchmarks.tables.rules import confidence_table, rules_table
from benchmarks.tables.scores import retraining_table, scores_table, trials_table
from benchmarks.tables.selection import arms_table, selection_table

ROOT = RESULTS.parents[2]
# The runs of before there was anything but replay at weight 1; of families that RESULTS has, nothing of them is read.
EARLIER = RESULTS.with_name("replay.json")
PAGE = ROOT / "docs/method.md"
Whole = dict[str, list[Record]]


def read(results: Path = RESULTS) -> Whole:
    """Return the records of the benchmark, with the earlier ones of families that it has not been run on since."""
    whole: Whole = json.loads(results.read_text()) if results.is_file() else {}
    known = {fact["family"] for fact in whole.get("facts", [])}
    earlier: Whole = json.loads(EARLIER.read_text()) if results == RESULTS and EARLIER.is_file() else {}
    sections = {name: whole.get(name, []) for name in SECTIONS}
    return {
        name: rows + [row for row in earlier.get(name, []) if row["family"] not in known]
        for name, rows in sections.items()
    }


def tables(whole: Whole, folder: Path = RESULTS.parent) -> dict[str, str]:
    """Return every table by the name of its marker; `folder` has the smaller results beside the records."""
    records, facts, pictures = whole["records"], whole["facts"], whole["pictures"]
    curves = whole["curves"]
    once = [record for record in records if confirmed(record)]
    return {
        "protection": protection_table(records, pictures),
        "protection-confirmed": protection_table(once, [row for row in pictures if confirmed(row)]),
        "auto": auto_table(records),
        "equal": equal_table(records, curves),
        "wrong-stop": wrong_stop_table(records, curves),
        "horizon": horizon_table(records),
        "arms": arms_table(records),
        "selection": selection_table(records),
        "selection-confirmed": selection_table(once),
        "rules": rules_table(records),
        "rules-auto": rules_table(records, "auto"),
        "rules-confirmed": rules_table(once),
        "scores": scores_table(facts),
        "retraining": retraining_table(json.loads((folder / "retraining.json").read_text())),
        "trials": trials_table(records, facts),
        "confidence": confidence_table(records, facts),
        "pictures": pictures_table(pictures),
        "picture-rule": picture_rule_table(_rows(folder / "picture_rule.json")),
        **claims_tables(whole, folder),
    }


def _rows(file: Path) -> list[Record]:
    found: list[Record] = json.loads(file.read_text()) if file.is_file() else []
    return found


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
    made = tables(read(chosen.results))
    if chosen.show:
        print("\n\n".join(f"{name}\n{table}" for name, table in made.items()))
        return
    text = PAGE.read_text()
    for name, table in made.items():
        text = insert(text, name, table)
    PAGE.write_text(text)
