"""Places in the queue are the same however many are asked for, and many cost little more than one."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.database.tables import Account, Job
from core.jobs.queue import queue_positions
from tests.core.ledger import Sessions


def waiting(session: Session, count: int, seed: int = 1) -> list[str]:
    """Queue jobs of all priorities in two queues, some of them at the same moment."""
    chance = random.Random(seed)
    session.execute(insert(Account), [{"id": "a", "name": "a", "created_at": 1.0}])
    job = {"account_id": "a", "backbone": "b", "request": {}, "training_files": [], "seed": 1, "state": "QUEUED"}
    rows = [
        {
            "id": f"job-{number}",
            "queue": chance.choice(["one", "other"]),
            "priority": chance.choice([0, 0, 0, 5]),
            "created_at": float(chance.randrange(count // 2)),
        }
        for number in range(count)
    ]
    session.execute(insert(Job), [job | row for row in rows])
    return [str(row["id"]) for row in rows]


def test_many_places_are_those_that_are_found_one_by_one(database: Sessions) -> None:
    with database.begin() as session:
        ids = waiting(session, 60)
        session.get_one(Job, ids[0]).queue = "a third"
        session.flush()
        one_by_one = {id: place for each in ids for id, place in queue_positions(session, [each]).items()}
        assert queue_positions(session, ids) == one_by_one
        assert queue_positions(session, ids[:20]) == {id: one_by_one[id] for id in ids[:20]}
    assert sorted(one_by_one.values())[-1] > 20


def steps(session: Session, ids: list[str]) -> int:
    """Count what SQLite does for the places of these jobs, in steps of its machine."""
    connection, counted = session.connection().connection.driver_connection, [0]
    assert connection is not None

    def count() -> None:
        counted[0] += 1

    connection.set_progress_handler(count, 10)
    assert len(queue_positions(session, ids)) == len(ids)
    connection.set_progress_handler(None, 10)
    return counted[0]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_work_grows_with_the_number_of_jobs_and_not_with_its_square(database: Sessions) -> None:
    with database.begin() as session:
        waiting(session, 1600)
        ids = list(session.scalars(select(Job.id)))
        few, many = steps(session, ids[:100]), steps(session, ids[:800])
    assert many < 4 * few  # eight times as many; one by one they take eight times as long
