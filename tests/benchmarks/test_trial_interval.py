"""What is said of a trial's interval, counted again on the records."""

from __future__ import annotations

import json

import pytest

from benchmarks.tables.scores import true_effects
from core.disk import ROOT
from core.method.mixing.trial import Trial
from core.method.stopping.evidence import SurrogateCurves

WHOLE = json.loads((ROOT / "benchmarks/results/replay.json").read_text())


@pytest.mark.parametrize(("family", "held", "of"), [("nano", 236, 260), ("emoji", 18, 24)])
def test_the_interval_of_a_trial_holds_what_unseen_data_gained_as_often_as_is_said(
    family: str, held: int, of: int
) -> None:
    facts = [fact for fact in WHOLE["facts"] if fact["family"] == family]
    found = [within(fact, gamma, -more) for gamma in ("0.25", "0.5") for fact, more in effects(facts, gamma)]
    assert (sum(found), len(found)) == (held, of)


def effects(facts: list[dict], gamma: str) -> list[tuple[dict, float]]:
    return true_effects(WHOLE["records"], facts, gamma)


def within(fact: dict, gamma: str, gained: float) -> bool:
    told = fact["trials"][gamma]
    trial = Trial(float(gamma), told["gain"], told["error"], SurrogateCurves(((0,), (1,))), clusters=fact["n"])
    low, high = trial.interval
    return low <= gained <= high
