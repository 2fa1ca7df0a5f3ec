"""Where a job stands, by its trainer's lines."""

from __future__ import annotations

import time

import pytest

from worker.protocol import Progress
from worker.supervision.lease import Position


@pytest.mark.parametrize("prepared", [0.0, 64 / 67])
def test_preparing_goes_on_from_what_another_trainer_has_made_for_it(prepared: float) -> None:
    shares = [Position.of(Progress("prepare", step, 3), prepared).progress for step in range(4)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (prepared, 1.0)


def test_other_stages_have_their_own_share_which_is_never_more_than_one() -> None:
    assert Position.of(Progress("train", 5, 10), 0.9) == Position("train", 5, 0.5)
    assert Position.of(Progress("train", 11, 10)).progress == 1.0
    assert Position.of(Progress("train", 0, 0)).progress == 0.0


def test_between_two_lines_the_seconds_that_are_left_pass() -> None:
    assert Position("train", 5, 0.5, 20.0, at=time.monotonic() - 15).eta_now == pytest.approx(5, abs=2)
    assert Position("train", 5, 0.5, 20.0, at=time.monotonic() - 25).eta_now == 0.0
    assert Position("train", 5, 0.5).eta_now is None
