"""Where a job stands, by its trainer's lines, and what of it is written down."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from typing import cast

import pytest
from sqlalchemy.orm import Session, sessionmaker

from core.jobs.leases import Claim
from tests.worker.floor import Floor
from worker.protocol import Progress
from worker.supervision.lease import Lease, Position


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


class SlowHeartbeat:
    """Sessions of which the heartbeat's first waits, after it has read where the job stands."""

    def __init__(self, floor: Floor) -> None:
        self._sessions = floor.sessions
        self.begun, self.go = threading.Event(), threading.Event()

    def begin(self) -> AbstractContextManager[Session]:
        if threading.current_thread().name == "heartbeat":
            self.begun.set()
            assert self.go.wait(60)
        return self._sessions.begin()


def test_a_slow_heartbeat_writes_no_older_way_over_what_was_noted_meanwhile(floor: Floor) -> None:
    job_id = floor.job()
    claim, sessions, noted = Claim.of(floor.claim()), SlowHeartbeat(floor), threading.Event()

    def let_go() -> None:
        noted.wait(1)  # which never comes where noting waits for the heartbeat
        sessions.go.set()

    with Lease(cast(sessionmaker[Session], sessions), claim, floor.settings) as lease:
        lease.move(Position("export", 1, 0.5, course={"overall": 0.1}))
        assert sessions.begun.wait(60)
        release = threading.Thread(target=let_go)
        release.start()
        lease.note({"overall": 0.9})
        noted.set()
        release.join()
        beaten = floor.get(job_id).heartbeat_at
        until = time.monotonic() + 60
        while floor.get(job_id).heartbeat_at == beaten and time.monotonic() < until:
            time.sleep(0.05)
        assert floor.get(job_id).heartbeat_at != beaten  # and the next one has no older way either
    assert floor.get(job_id).course == {"overall": 0.9}
