"""Tables are made from records and put between their markers, and nowhere else."""

import json
import re

import pytest

from benchmarks.method import RESULTS
from benchmarks.tables import PAGE, ROOT, insert, matched, tables


def test_a_table_replaces_what_stood_between_its_markers() -> None:
    page = "before\n<!-- table: arms -->\nold\n<!-- end of table -->\nafter\n"
    assert insert(page, "arms", "| new |") == "before\n<!-- table: arms -->\n| new |\n<!-- end of table -->\nafter\n"
    assert insert(page, "rules", "| new |") == page


def test_arms_are_compared_where_their_subjects_have_come_equally_far() -> None:
    place = {"family": "emoji", "set": "cat", "n": 4, "learning_rate": 1e-3, "seed": 0, "pool": "related"}
    rows = [
        {**place, "arm": arm, "step": step, "similarity": s, "swallowed": w, "drift": 0.0}
        for arm, points in (("none", ((10, 0.4, 0.4), (20, 0.8, 0.6))), ("random", ((10, 0.2, 0.0), (20, 0.6, 0.2))))
        for step, s, w in points
    ]
    unit = tuple(place[name] for name in ("family", "set", "n", "learning_rate", "seed", "pool"))
    assert matched(rows, unit, "none", ("none", "random"))[:2] == pytest.approx((0.6, 0.5))
    assert matched(rows, unit, "random", ("none", "random"))[:2] == pytest.approx((0.6, 0.2))


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return tables(json.loads(RESULTS.read_text()))


def test_the_tables_on_the_page_are_those_of_the_results(made: dict[str, str]) -> None:
    text = PAGE.read_text()
    for name, table in made.items():
        assert f"<!-- table: {name} -->" in text
        assert insert(text, name, table) == text, f"run `python -m benchmarks.tables`: {name} is out of date"


def test_the_figures_that_the_readme_quotes_stand_in_the_tables(made: dict[str, str]) -> None:
    quoted = re.findall(r"-?\d\.\d+ \[[^\]]+\]", (ROOT / "README.md").read_text())
    assert len(quoted) == 5
    assert [figure for figure in quoted if not any(figure in table for table in made.values())] == []
