"""The rules that the benchmark replays beside the service's own: one split, and a constant from other sets."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.rules import NEEDS, one_split
from benchmarks.runs import Curve
from benchmarks.tables.constant import CONSTANTS, SOURCES, by_constant, constant_step

BEST = {("a", "one"): 16.0, ("a", "two"): 16.0, ("a", "three"): 2.0, ("b", "one"): 1.0}  # steps for one reference


def whole_run(family: str, name: str, n: int = 4, rate: float = 1e-3) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run whose loss on unseen data is lowest at its best constant, and the more above that the further away."""
    best = CONSTANTS.index(BEST[family, name])
    shown = {constant_step(c, n, rate, 10_000): 1 + abs(CONSTANTS.index(c) - best) / 10 for c in CONSTANTS}
    given = {"family": family, "set": name, "n": n, "learning_rate": rate, "seed": 0, "pool": "related", "arm": "none"}
    record = given | {"rule": "never", "heldout_start": 2.0, "heldout_best": 1.0, "heldout_at_stop": 1.9}
    return record, given | {"steps": [*shown], "heldout": [*shown.values()], "probe": [1.0] * len(shown)}


def test_a_constant_is_learned_from_the_other_sets_and_never_from_the_one_it_is_for() -> None:
    records, curves = zip(*(whole_run(family, name) for family, name in BEST), strict=True)
    found = {(r["family"], r["set"], r["rule"]): r for r in by_constant(records, curves)}
    own, foreign = SOURCES
    assert found["a", "three", own]["constant"] == 16.0
    assert found["a", "three", own]["stop_step"] == 64
    assert found["a", "three", own]["heldout_at_stop"] == pytest.approx(1.6)  # six places beyond its own best
    assert ("b", "one", own) not in found  # the only set of its family
    assert found["b", "one", foreign]["constant"] == 16.0
    assert found["a", "one", foreign]["constant"] == 1.0
    assert by_constant(records, curves[:1]) == []  # what one run shows is no other set


def test_a_constant_asks_for_more_steps_with_more_references_and_fewer_at_a_higher_rate() -> None:
    assert constant_step(8, 4, 1e-3, 500) == 32
    assert constant_step(8, 8, 1e-3, 500) == 64
    assert constant_step(8, 4, 4e-3, 500) == 8
    assert constant_step(8, 400, 1e-3, 500) == 500
    assert constant_step(0.5, 1, 1e-1, 500) == 1


def test_one_split_is_the_evidence_of_one_run_on_the_clock_of_a_run_on_all() -> None:
    curve = Curve(steps=[0, 10, 20, 30, 40], reference=[1.0, 0.8, 0.5, 0.3, 0.2], left_out=[1.0, 0.8, 0.6, 0.9, 1.2])
    evidence = one_split(2, 8, curve)
    assert (evidence.best_step, evidence.level) == (20, 0.5)
    assert evidence.scale == pytest.approx((8 / 6) ** 0.5)
    assert evidence.gain == pytest.approx(0.4)
    assert evidence.standard_error == 0  # one split says nothing of its own error


def test_what_needs_held_out_references_is_told_from_what_needs_other_sets() -> None:
    assert set(SOURCES) <= set(NEEDS)
    assert {NEEDS[rule] for rule in SOURCES} == {"unseen data of other sets"}
    assert NEEDS["one split, retrained"] == "one split"
    assert "fixed 2M, M=10" not in NEEDS
