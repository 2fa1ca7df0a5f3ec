"""Where a job stands, by its trainer's lines."""

from __future__ import annotations

import pytest

from worker.protocol import Progress
from worker.supervision.lease import Position


@pytest.mark.parametrize("prepared", [0.0, 64 / 67])
def test_preparing_goes_on_from_what_another_trainer_has_made_for_it(prepared: float) -> None:
    shares = [Position.of(Progress("prepare", step, 3), None, prepared).progress for step in range(4)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (prepared, 1.0)


def test_other_stages_have_their_own_share_which_is_never_more_than_one() -> None:
    assert Position.of(Progress("train", 5, 10), 2.0, 0.9) == Position("train", 5, 0.5, 2.0)
    assert Position.of(Progress("train", 11, 10), None).progress == 1.0
    assert Position.of(Progress("train", 0, 0), None).progress == 0.0
