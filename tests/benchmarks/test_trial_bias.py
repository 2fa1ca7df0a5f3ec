"""What is said of how a trial flatters its own selection, counted again on the records."""

from __future__ import annotations

import json

from benchmarks.records import Record
from benchmarks.statistics import Estimate, estimate
from benchmarks.trial_bias import RESULTS

ROWS = json.loads(RESULTS.read_text())


def apart(first: str, second: str) -> Estimate:
    """Return a difference over seeds, whose sets share the pool's texts."""
    return estimate([(row["cluster"][1], said(row, first) - said(row, second)) for row in ROWS])


def said(row: Record, name: str) -> float:
    return (row["tried"] | {f"true {what}": value for what, value in row["true"].items()})[name]


def test_scores_aimed_at_what_judges_them_flatter_the_selection_and_those_of_other_folds_do_so_less() -> None:
    for flattering in (apart("same", "others"), apart("same", "true selected")):
        assert flattering.low is not None
        assert flattering.low > 0


def test_what_the_other_folds_select_is_tried_no_better_than_a_draw_is() -> None:
    assert apart("others", "true selected").mean <= apart("random", "true random").mean
