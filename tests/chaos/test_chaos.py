"""A short storm; the long ones run by `make chaos SEED=1`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.clients import orders
from tests.chaos.plant import Size
from tests.chaos.storm import Order, storm
from tests.chaos.troubles import WEATHER, plan

CHEAP = [
    "kill worker",
    "kill trainer",
    "kill dispatcher",
    "kill api",
    "kill broker",
    "flush broker",
    "drain worker",
    "restart database",
    "five wake-ups",
    "refused requests",
    "torn answers",
    "storage reset",
    "broker refuse",
]


@pytest.mark.slow
def test_a_short_storm_breaks_no_promise(tmp_path: Path) -> None:
    order = Order(
        seed=1, jobs=10, database="sqlite", poisoned=0, long=False, kinds=CHEAP, size=Size(workers=2), quiet=True
    )
    broken = [f"{check.promise}: {check.words}" for check in storm(order, tmp_path) if not check.kept]
    assert broken == []
    assert "begin kill worker" in (tmp_path / "chaos.log").read_text()


def test_a_seed_is_a_plan_that_has_every_kind() -> None:
    kinds = [*CHEAP, *(f"broker {mode}" for mode in WEATHER)]
    assert plan(7, 100, kinds) == plan(7, 100, kinds) != plan(8, 100, kinds)
    assert {trouble.kind for trouble in plan(7, 100, kinds)} == set(kinds)
    assert orders(7, 40, 4, 1) == orders(7, 40, 4, 1) != orders(8, 40, 4, 1)
