"""Tables are made from records and put between their markers, and nowhere else."""

import re

import pytest

from benchmarks.tables.equal import equal_table, wrong_stop_table
from benchmarks.tables.page import PAGES, ROOT, insert, read, read_study, tables
from benchmarks.tables.protection import horizon_table, protection_table, seen_table
from benchmarks.tables.replays import stopped
from benchmarks.tables.rules import rules_table
from benchmarks.tables.study import at, by_kind

SETTING = {
    "family": "emoji",
    "set": "cat",
    "kind": "subject",
    "n": 4,
    "learning_rate": 1e-3,
    "seed": 0,
    "pool": "related",
    "cluster": "cat",
    "horizon": 80,
}
SETS = ("cat", "bus", "hat")
STEPS = list(range(81))
FOLDS = {
    "folds": [[0, 2], [1, 3]],
    "steps": STEPS,
    "seen": [[1 - step / 200] * 2 for step in STEPS],
    "held_out": [[1 + abs(step - 20) / 100] * 4 for step in STEPS],
}


def run(name: str, arm: str, published: int, speed: float, kept: float, **values: object) -> dict:
    """A run whose losses change by `speed` per cent a step."""
    means = {"gamma": 0.0, "protect": "none", "protect_weight": 1.0, "protect_on": "pool"}
    if arm != "none":
        protect, weight, on, gamma = arm.split()
        means = {"gamma": float(gamma), "protect": protect, "protect_weight": float(weight), "protect_on": on}
    shown = {
        "heldout": [1 - speed * step / 200 for step in STEPS],
        "probe": [1 + speed * step / 100 for step in STEPS],
        "reference": [1 - step / 200 for step in STEPS],
        "similarity": [step / 100 for step in STEPS[1:]],
        "kept": {"probe": {"40": kept, "80": kept}},
    }
    ends = {"steps": STEPS, "published": published, "best_step": 20, "best_at_end": False}
    return SETTING | {"set": name, "cluster": name, "arm": arm} | means | ends | shown | values


def study() -> list[dict]:
    return [
        each
        for place, name in enumerate(SETS)
        for each in (
            run(name, "none", 20, 2.0, 0.4),
            run(name, "replay 1 pool .5", 40, 1.0 + place / 100, 0.2),
            run(name, "distil 4 own .5", 40, 0.5, 0.1),
        )
    ]


def rows_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_a_table_replaces_what_stood_between_its_markers() -> None:
    page = "before\n<!-- table: arms -->\nold\n<!-- end of table -->\nafter\n"
    assert insert(page, "arms", "| new |") == "before\n<!-- table: arms -->\n| new |\n<!-- end of table -->\nafter\n"
    assert insert(page, "rules", "| new |") == page


def test_a_protection_is_held_against_the_papers_replay_and_against_none() -> None:
    paper, strong = rows_of(protection_table(by_kind(study())))
    assert paper[2] == paper[4] == paper[6] == ""  # nothing is held against itself
    assert strong[:2] == ["emoji LDM, subject", "distil 4 own .5"]
    assert strong[2].startswith("**0.50 [0.4")  # .2 of the probe's loss against .4
    assert strong[3] == "**0.50 [0.50, 0.50]**"
    assert strong[4] == "**0.50 [0.50, 0.50]**"
    assert strong[5] == "**0.50 [0.50, 0.50]**"  # at step 20 the plain run is half of the way to what is kept at 40
    assert strong[7] == "**+10.0 [+10.0, +10.0]**"
    assert strong[8] == "3 (3)"


def test_pictures_are_looked_at_nearest_the_published_step() -> None:
    pictures = [
        SETTING | {"set": name, "arm": arm, "step": step, "similarity": x, "swallowed": x / 2, "recognised": 1.0}
        for name in SETS
        for arm, seen in (("none", (0.5, 0.6)), ("distil 4 own .5", (0.1, 0.3)))
        for step, x in zip((20, 40), seen, strict=True)
    ]
    plain, strong = rows_of(seen_table(study(), pictures))
    assert plain[2:] == ["", "", "0.25", "", "100%", "3 (3)"]
    assert strong[2:] == ["**0.60 [0.60, 0.60]**", "", "0.15", "**-0.10 [-0.10, -0.10]**", "100%", "3 (3)"]


def test_at_equal_exposures_a_run_is_looked_at_when_it_has_seen_the_references_as_often() -> None:
    replay, distil = rows_of(equal_table(study()))
    assert replay[2].startswith("-0.2 [")  # step 40 of it is step 20 of the plain run
    assert replay[4].startswith("**+9.9 [")  # step 20 against step 20
    assert distil[3] == "**0.50 [0.50, 0.50]**"
    assert distil[5].startswith("**0.21")  # a frozen pass for half of the slots: a seventh of the steps less


def test_a_late_stop_is_held_against_the_runs_own_best() -> None:
    lost = [run(name, "none", 20, -1.0, 0.4) for name in SETS]
    assert rows_of(wrong_stop_table(lost))[0][2:4] == ["+19.5 [+19.5, +19.5]", "+39.5 [+39.5, +39.5]"]
    assert at(lost[0], "heldout", 20) == pytest.approx(1.1)


def test_runs_that_were_best_at_their_end_are_counted() -> None:
    runs = [run(name, "none", 20, 1.0, 0.4, best_at_end=name == "cat") for name in SETS]
    assert rows_of(horizon_table(runs)) == [["emoji LDM, subject", "none", "80", "33%", "3"]]


def test_rules_are_replayed_on_the_runs_of_the_study() -> None:
    facts = [SETTING | {"set": name, "folds": FOLDS} for name in SETS]
    records, curves = stopped(study(), facts)
    assert len(curves) == 3
    steps = {row["rule"]: row["stop_step"] for row in records if row["set"] == "cat"}
    assert steps["matched loss K=4"] == steps["auto"]
    assert 20 <= steps["auto"] <= 44  # the surrogates' best step, for the references that each of them went without
    assert steps["never"] == steps["oracle"] == 80
    assert steps["fixed 2M, M=10"] == 20
    table = {row[0]: row for row in rows_of(rules_table(records))}
    assert table["oracle"][1:] == ["unseen data of this set", "0.00 [0.00, 0.00]; 0%"]
    assert table["fixed 2M, M=10"][2] == "0.75 [0.75, 0.75]; 0%"
    assert list(table)[-2:] == ["never", "oracle"]


def test_of_a_run_whose_similarity_was_not_kept_nothing_is_said_of_cs_fluctuation() -> None:
    facts = [SETTING | {"set": name, "folds": FOLDS} for name in SETS]
    bare = [run | {"similarity": []} for run in study()]
    records, _ = stopped(bare, facts)
    assert not any("CS" in record["rule"] or "settle" in record["rule"] for record in records)
    assert any(record["rule"].startswith("fixed 2M") for record in records)
    steps = {(record["set"], record["rule"]): record["stop_step"] for record in records}
    assert all(steps[name, "auto"] == steps[name, "matched loss K=4"] for name in SETS)


def test_rules_that_the_table_does_not_know_stand_before_the_last() -> None:
    losses = {"heldout_start": 1.0, "heldout_best": 0.5, "heldout_at_stop": 0.5}
    rules = ("never", "a new rule", "auto")
    rows = [SETTING | losses | {"set": name, "arm": "none", "rule": rule} for name in SETS for rule in rules]
    assert [row[:2] for row in rows_of(rules_table(rows))] == [
        ["auto", "K folds"],
        ["a new rule", "nothing"],
        ["never", "nothing"],
    ]


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return tables(read(), read_study())


def test_the_tables_on_the_page_are_those_of_the_results(made: dict[str, str]) -> None:
    pages = [page.read_text() for page in PAGES]
    for name, table in made.items():
        assert any(f"<!-- table: {name} -->" in text for text in pages), f"no place for {name}"
        for text in pages:
            assert insert(text, name, table) == text, f"run `python -m benchmarks.tables`: {name} is out of date"


def test_the_pages_have_no_place_for_a_table_that_is_not_made(made: dict[str, str]) -> None:
    named = [name for page in PAGES for name in re.findall(r"<!-- table: ([\w-]+) -->", page.read_text())]
    assert sorted(set(named) - made.keys()) == []


def test_the_figures_that_the_readme_quotes_stand_in_the_tables(made: dict[str, str]) -> None:
    quoted = re.findall(r"-?\d\.\d+ \[[^\]]+\]", (ROOT / "README.md").read_text())
    assert len(quoted) >= 4
    assert [figure for figure in quoted if not any(figure in table for table in made.values())] == []
