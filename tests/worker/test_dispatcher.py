from __future__ import annotations

import signal
import threading
import time

import pytest
from sqlalchemy import select, text

from core.database import invariants
from core.database.tables import Account, Reservation, Worker
from tests.worker.floor import Floor
from worker.dispatcher import Dispatcher


def test_a_round_takes_back_jobs_ends_overdue_ones_and_forgets_workers(plant: Floor) -> None:
    lost, overdue, waiting = plant.job(), plant.job(deadline_at=1.0), plant.job()
    with plant.sessions.begin() as session:
        session.execute(
            text("UPDATE job SET state = 'RUNNING', epoch = 1, lease_until = 1 WHERE id = :id"), {"id": lost}
        )
        session.add(Worker(id="dead", queue="gpu.default", host="h", pid=1, started_at=1.0, seen_at=1.0))
    Dispatcher(plant.settings).round()
    assert [plant.get(job).state for job in (lost, overdue, waiting)] == ["QUEUED", "EXPIRED", "QUEUED"]
    assert plant.get(lost).crash_count == 1
    with plant.sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM worker")) == 0


def test_a_round_forgets_what_dead_uploads_had_set_aside_and_puts_a_wrong_count_right(plant: Floor) -> None:
    plant.job()
    with plant.sessions.begin() as session:
        right = session.get_one(Account, "acct-1").stored_bytes = 7
        for name, until in (("room-dead", 1.0), ("room-alive", 1e12)):
            session.add(Reservation(id=name, account_id="acct-1", bytes=5, until=until))
    Dispatcher(plant.settings).round()
    with plant.sessions() as session:
        rooms = select(Reservation.id).where(Reservation.id.startswith("room-"))
        assert session.scalars(rooms).all() == ["room-alive"]
        assert session.get_one(Account, "acct-1").stored_bytes > right
        assert invariants.miscounted(session) == []


def test_a_dispatcher_whose_rounds_end_does_not_live_on_as_a_sender_of_webhooks(
    plant: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = iter([FileNotFoundError("somebody else has swept"), RuntimeError("this should never be")])

    def broken(_: Dispatcher) -> None:
        raise next(rounds)

    monkeypatch.setattr(Dispatcher, "round", broken)
    with pytest.raises(RuntimeError):
        Dispatcher(plant.settings).run()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("webhook-sender")]


def test_a_dispatcher_outlives_a_database_that_is_away(plant: Floor) -> None:
    with plant.dispatcher() as process:
        job_id = plant.job()
        plant.wait(lambda: plant.get(job_id).dispatched_at is not None)
        with plant.sessions.begin() as session:
            session.execute(text("ALTER TABLE job RENAME TO away"))
        time.sleep(3 * plant.settings.dispatcher_seconds)
        with plant.sessions.begin() as session:
            session.execute(text("ALTER TABLE away RENAME TO job"))
        second = plant.job()
        plant.wait(lambda: plant.get(second).dispatched_at is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
