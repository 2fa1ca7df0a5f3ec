"""Tables are made from records and put between their markers, and nowhere else."""

import re

import pytest

from benchmarks.tables.equal import at, equal_table, wrong_stop_table
from benchmarks.tables.page import PAGE, ROOT, insert, read, tables
from benchmarks.tables.pictures import matched
from benchmarks.tables.protection import horizon_table, protection_table
from benchmarks.tables.rules import rules_table

UNIT = {"family": "emoji", "set": "cat", "kind": "subject", "n": 4, "learning_rate": 1e-3, "seed": 0, "pool": "related"}
NONE = {"arm": "none", "gamma": 0.0, "protect": "none", "protect_weight": 1.0, "protect_on": "pool"}
PAPER = NONE | {"arm": "influence .5", "gamma": 0.5, "protect": "replay"}
STRONG = PAPER | {"arm": "distil 4 .5", "protect": "distil", "protect_weight": 4.0}
SETS = ("cat", "bus", "hat")


def record(name: str, arm: dict, rule: str, **values: object) -> dict:
    usual = {"stop_step": 20, "best_step": 20, "best_at_end": False, "horizon": 40}
    losses = {"heldout_start": 1.0, "heldout_best": 0.5, "heldout_at_stop": 0.5, "forgetting": 0.4, "kept": 0.2}
    return UNIT | {"set": name, "rule": rule} | arm | usual | losses | values


def rows_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_a_table_replaces_what_stood_between_its_markers() -> None:
    page = "before\n<!-- table: arms -->\nold\n<!-- end of table -->\nafter\n"
    assert insert(page, "arms", "| new |") == "before\n<!-- table: arms -->\n| new |\n<!-- end of table -->\nafter\n"
    assert insert(page, "rules", "| new |") == page


def test_a_protection_is_held_against_the_papers_replay_and_against_none() -> None:
    plain, mixed = "matched loss K=4", "matched loss, stretched"
    records = []
    for place, name in enumerate(SETS):
        shift = 0.01 * place
        records += [
            record(name, NONE, plain, forgetting=0.4 + shift),
            record(name, PAPER, mixed, forgetting=0.2 + shift, heldout_at_stop=0.52, kept=0.1),
            record(name, STRONG, mixed, forgetting=0.1, heldout_at_stop=0.53 + shift, kept=0.05),
        ]
    paper, strong = sorted(
        rows_of(protection_table(records, [])), key=lambda row: row[1] != "replay, weight 1, pool, gamma 0.5"
    )
    assert paper[2] == paper[4] == paper[6] == ""  # nothing is held against itself
    assert strong[1] == "distil, weight 4, pool, gamma 0.5"
    assert strong[2].startswith("**0.48 [")
    assert strong[3].startswith("**0.24 [")
    assert strong[4] == "**0.50 [0.50, 0.50]**"
    assert strong[6].startswith("+2.0 [")
    assert strong[7].startswith("**+4.0 [")
    assert strong[8] == "3 (3)"


def test_pictures_are_looked_at_nearest_the_published_step() -> None:
    plain, mixed = "matched loss K=4", "matched loss, stretched"
    records, pictures = [], []
    for name in SETS:
        records += [record(name, NONE, plain), record(name, PAPER, mixed, stop_step=35)]
        for arm, seen in (("none", (0.5, 0.6)), ("influence .5", (0.1, 0.3))):
            pictures += [
                UNIT | {"set": name, "arm": arm, "step": step, "similarity": x, "swallowed": x / 2}
                for step, x in zip((20, 40), seen, strict=True)
            ]
    (row,) = rows_of(protection_table(records, pictures))
    assert row[9:] == ["**0.60 [0.60, 0.60]**", "**-0.10 [-0.10, -0.10]**"]


def test_at_equal_exposures_a_run_is_looked_at_when_it_has_seen_the_references_as_often() -> None:
    steps = list(range(81))
    curves, records = [], []
    for name in SETS:
        records.append(record(name, NONE, "matched loss K=4", stop_step=20))
        records += [record(name, arm, "never") for arm in (NONE, PAPER, STRONG)]
        for arm in (NONE, PAPER, STRONG):
            late = 2.0 if arm is NONE else 1.0
            shown = {"heldout": [1 - late * s / 200 for s in steps], "probe": [1 + late * s / 100 for s in steps]}
            curves.append(UNIT | {"set": name, "best_step": 20, "steps": steps} | arm | shown)
    distil, replay = rows_of(equal_table(records, curves))
    assert replay[2:4] == ["+0.0 [+0.0, +0.0]", "1.00 [1.00, 1.00]"]  # step 40 of it is step 20 of the plain run
    assert replay[4:6] == ["**+10.0 [+10.0, +10.0]**", "**0.50 [0.50, 0.50]**"]  # step 20 against step 20
    assert distil[5].startswith("**0.43")  # a frozen pass for half of the slots: a seventh of the steps less
    assert next(row[2] for row in rows_of(wrong_stop_table(records, curves))) == "+40.0 [+40.0, +40.0]"
    assert at(curves[0], "heldout", 20) == pytest.approx(0.8)


def test_runs_that_were_best_at_their_end_are_counted() -> None:
    rows = [record(name, NONE, "never", best_at_end=name == "cat") for name in SETS]
    assert rows_of(horizon_table(rows)) == [["emoji LDM, subject", "none", "40", "33%", "3"]]


def test_rules_stand_by_family_and_those_that_the_table_does_not_know_stand_before_never() -> None:
    rows = [record(name, NONE, rule) for name in SETS for rule in ("never", "a new rule", "auto")]
    assert [row[:3] for row in rows_of(rules_table(rows))] == [
        ["auto", "yes", "0.00 [0.00, 0.00]; 0%"],
        ["a new rule", "no", "0.00 [0.00, 0.00]; 0%"],
        ["never", "no", "0.00 [0.00, 0.00]; 0%"],
    ]


def test_arms_are_compared_where_their_subjects_have_come_equally_far() -> None:
    rows = [
        {**UNIT, "arm": arm, "step": step, "similarity": s, "swallowed": w, "drift": 0.0}
        for arm, points in (("none", ((10, 0.4, 0.4), (20, 0.8, 0.6))), ("random", ((10, 0.2, 0.0), (20, 0.6, 0.2))))
        for step, s, w in points
    ]
    unit = tuple(UNIT[name] for name in ("family", "set", "n", "learning_rate", "seed", "pool"))
    assert matched(rows, unit, "none", ("none", "random"))[:2] == pytest.approx((0.6, 0.5))
    assert matched(rows, unit, "random", ("none", "random"))[:2] == pytest.approx((0.6, 0.2))


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return tables(read())


def test_the_tables_on_the_page_are_those_of_the_results(made: dict[str, str]) -> None:
    text = PAGE.read_text()
    for name, table in made.items():
        assert f"<!-- table: {name} -->" in text, f"no place for {name}"
        assert insert(text, name, table) == text, f"run `python -m benchmarks.tables`: {name} is out of date"


def test_the_figures_that_the_readme_quotes_stand_in_the_tables(made: dict[str, str]) -> None:
    quoted = re.findall(r"-?\d\.\d+ \[[^\]]+\]", (ROOT / "README.md").read_text())
    assert len(quoted) >= 4
    assert [figure for figure in quoted if not any(figure in table for table in made.values())] == []
