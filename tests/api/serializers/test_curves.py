"""Curves with fewer rows than were measured: the outline of what a chart would show of all."""

from __future__ import annotations

import math
import random
from array import array

import pytest
from sqlalchemy import insert

from api.serializers.curves import ROWS_AT_ONCE, Curve, kept, thinned
from core.database.tables import Metric
from core.jobs import reports
from tests.core.ledger import Sessions, running


def curve(values: dict[int, float]) -> Curve:
    return Curve(array("q", values), array("d", values.values()))


def noisy(steps: range, seed: int) -> Curve:
    rng = random.Random(seed)
    return curve({step: rng.gauss(0, 1) for step in steps})


@pytest.mark.parametrize("points", [2, 3, 10, 37, 500])
def test_there_are_never_more_rows_than_asked_for_and_the_ends_are_among_them(points: int) -> None:
    found = kept(range(10_000), [noisy(range(10_000), 1), noisy(range(0, 10_000, 7), 2), noisy(range(9), 3)], points)
    assert len(found) <= points
    assert {0, 9_999} <= found
    assert kept(range(points), [noisy(range(points), 1)], points) == set(range(points))


@pytest.mark.parametrize("seed", range(10))
def test_the_extremes_of_every_curve_stay(seed: int) -> None:
    drawn = [
        noisy(range(5_000), seed),
        noisy(range(3, 5_000, 11), seed + 100),
        noisy(range(40, 4_000, 400), seed + 200),
    ]
    found = kept(range(5_000), drawn, 30)
    for each in drawn:
        assert set(each.extremes(0, len(each.steps))) <= found


def test_a_curve_that_was_measured_seldom_keeps_all_of_its_values() -> None:
    seldom = curve({round(1.3**n): 1 / (n + 1) for n in range(8, 33)})
    assert set(seldom.steps) <= kept(range(5_000), [noisy(range(5_000), 4), seldom], 200)


def test_every_stretch_of_a_curve_keeps_its_lowest_and_its_highest_value() -> None:
    spikes = {step: math.sin(step / 300) + 5 * (step % 97 == 0) - 5 * (step % 89 == 0) for step in range(4_000)}
    found = kept(range(4_000), [curve(spikes)], 200)
    assert len(found) > 150
    for start in range(0, 3_900, 100):  # each is longer than twice a stretch
        part = [spikes[step] for step in found if start <= step < start + 100]
        assert max(part) > 3
        assert min(part) < -3


def test_a_level_line_takes_no_rows_from_a_curve() -> None:
    level = curve(dict.fromkeys(range(1_000), 1e-4))
    assert kept(range(1_000), [noisy(range(1_000), 5), level], 100) == kept(range(1_000), [noisy(range(1_000), 5)], 100)


def test_rows_of_every_stage_are_thinned_with_null_where_a_curve_has_no_value(database: Sessions) -> None:
    held = running(database)
    rows = {step: {"loss": math.cos(step), "rate": 1.0} for step in range(ROWS_AT_ONCE + 100)}
    for step in range(0, len(rows), 1000):
        rows[step] |= {"cs_fluctuation": float(step), "cs_step": step // 2}
    every = {"job_id": held.job_id, "attempt": 1, "created_at": 1.0}
    with database.begin() as session:
        session.execute(insert(Metric), [{**every, "stage": "train", "step": n, "data": rows[n]} for n in rows])
        assert reports.add_metrics(session, held, "surrogate", [{"step": n, "loss": 1 / (n + 1)} for n in range(99)])
        assert reports.add_metrics(session, held, "surrogate", [{"step": 7, "loss": float("nan")}])
    with database() as session:
        found = list(thinned(session, held.job_id, ("prepare", "surrogate", "train"), 40))
    surrogate, train = ([row for row in found if row.stage == stage] for stage in ("surrogate", "train"))
    assert [*surrogate, *train] == found
    assert (len(surrogate) <= 40, 30 < len(train) <= 40) == (True, True)
    assert [row.step for row in train] == sorted(row.step for row in train)
    assert {row.step: row.model_extra["loss"] for row in train} == {row.step: math.cos(row.step) for row in train}
    told = {row.step: row.model_extra["cs_fluctuation"] for row in train}
    assert {step: value for step, value in told.items() if value is not None} == {n: n for n in range(0, 5001, 1000)}


def test_a_stage_with_room_for_all_is_whole(database: Sessions) -> None:
    held = running(database)
    with database.begin() as session:
        assert reports.add_metrics(session, held, "train", [{"step": step, "loss": 1.0} for step in (0, 5, 9)])
    with database() as session:
        assert [row.step for row in thinned(session, held.job_id, ("train",), 3)] == [0, 5, 9]
        assert list(thinned(session, held.job_id, ("score",), 3)) == []
