"""What the bench of the picture rule makes of its measures: which steps are named, and what the table says of them."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.pictures.rule import RESULTS, named_steps
from benchmarks.tables.picture_rule import picture_rule_table, shown


def run(ended_by_turning: int | None = None, arm: str = "none", cluster: str = "a") -> dict[str, Any]:
    """A subject that is drawn ever nearer, while the drawings of held-out captions are nearest at step 40."""
    measured = {20: (0.4, 0.8), 40: (0.8, 0.5), 60: (0.96, 0.6), 80: (1.0, 0.7)}
    steps = [
        {"step": step, "similarity": near, "swallowed": 0.0, "content": 1.0, "distance": far, "unrelated_moved": 0.1}
        for step, (near, far) in measured.items()
    ]
    facts = {"matched_step": 20, "horizon": 80, "ended_by_turning": ended_by_turning, "style": False}
    record = {"arm": arm, "cluster": cluster, **facts, "steps": steps}
    return record | {"chosen": named_steps(record)}


def test_pictures_choose_among_the_steps_that_the_run_has_come_to() -> None:
    whole, cut = run(), run(ended_by_turning=40)
    assert whole["chosen"]["pictures"] == cut["chosen"]["pictures"] == 60
    assert whole["chosen"]["pictures, ended by CS-Fluctuation"] == 60
    assert cut["chosen"]["pictures, ended by CS-Fluctuation"] == 40
    assert whole["chosen"]["oracle"] == 40
    assert (whole["chosen"]["matched loss"], whole["chosen"]["last"]) == (20, 80)


def test_the_table_holds_every_rule_against_the_matched_loss_on_held_out_pictures() -> None:
    runs = [run(cluster=name) for name in "abc"]
    assert shown(runs[0], "random", "distance") == 0.65
    lines = picture_rule_table(runs).splitlines()
    assert "| none | matched loss | 0.80 | 0.10 |  | 3 (3) |" in lines
    assert "| none | pictures | 0.60 | 0.10 | **-20.0 [-20.0, -20.0]** | 3 (3) |" in lines
    assert "| none | oracle | 0.50 | 0.10 | **-30.0 [-30.0, -30.0]** | 3 (3) |" in lines


def test_what_is_recorded_is_what_the_rule_chooses_now() -> None:
    records = json.loads(RESULTS.read_text())
    assert records
    assert [record["chosen"] for record in records] == [named_steps(record) for record in records]
