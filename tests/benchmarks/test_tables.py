"""Tables are made from records and put between their markers, and nowhere else."""

import json

import pytest

from benchmarks.method import RESULTS
from benchmarks.tables import ROOT, insert, matched, tables


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


@pytest.mark.parametrize("page", ["README.md", "docs/method.md"])
def test_the_tables_on_the_page_are_those_of_the_results(page: str) -> None:
    made = tables(json.loads(RESULTS.read_text()))
    text = (ROOT / page).read_text()
    assert "<!-- table: " in text
    for name, table in made.items():
        assert insert(text, name, table) == text, f"run `python -m benchmarks.tables`: {name} is out of date"
