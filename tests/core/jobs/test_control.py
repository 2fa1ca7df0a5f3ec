"""What owners order: pause, resume and cancel in every state, and who is served next."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from core.database.tables import Job
from core.errors import Conflict
from core.jobs import control, leases
from core.jobs.leases import Claim
from tests.core.ledger import Sessions, cancel, claim, finish, get, lose_lease, moves, queued, reap, running


def order(sessions: Sessions, what: str, job_id: str) -> str:
    with sessions.begin() as session:
        job = session.get_one(Job, job_id)
        getattr(control, what)(session, job)
        return job.state


def test_a_queued_job_is_paused_at_once_and_waits_for_its_owner(database: Sessions) -> None:
    job_id = queued(database)
    assert order(database, "pause", job_id) == "PAUSED"
    assert order(database, "pause", job_id) == "PAUSED"
    assert claim(database) is None
    assert order(database, "resume", job_id) == "QUEUED"
    assert order(database, "resume", job_id) == "QUEUED"
    assert claim(database) is not None
    assert [to for _, to in moves(database, job_id)] == ["QUEUED", "PAUSED", "QUEUED", "RUNNING"]


def test_a_running_job_is_paused_by_its_worker(database: Sessions) -> None:
    held = running(database)
    assert order(database, "pause", held.job_id) == "RUNNING"
    with database.begin() as session:
        beat = leases.heartbeat(session, held, 60)
        assert beat is not None
        assert (beat.pause, beat.cancel) == (True, False)
        assert leases.stopped(session, held)
    job = get(database, held.job_id)
    assert (job.state, job.pause_requested_at, job.lease_until, job.crash_count) == ("PAUSED", None, None, 0)


def test_an_order_to_pause_can_be_taken_back(database: Sessions) -> None:
    held = running(database)
    order(database, "pause", held.job_id)
    assert order(database, "resume", held.job_id) == "RUNNING"
    with database.begin() as session:
        assert not leases.stopped(session, held)


def test_a_worker_that_dies_with_an_order_to_pause_leaves_a_paused_job(database: Sessions) -> None:
    job_id = running(database).job_id
    order(database, "pause", job_id)
    lose_lease(database, job_id)
    assert reap(database) == [job_id]
    assert (get(database, job_id).state, get(database, job_id).crash_count) == ("PAUSED", 1)


def test_a_job_that_ends_before_it_could_pause_has_ended(database: Sessions) -> None:
    held = running(database)
    order(database, "pause", held.job_id)
    with database.begin() as session:
        assert finish(session, held)
    assert get(database, held.job_id).state == "SUCCEEDED"
    for what in ("pause", "resume", "cancel"):
        with pytest.raises(Conflict, match="already ended"):
            order(database, what, held.job_id)


def test_a_paused_job_can_be_cancelled_and_a_cancelling_one_not_be_paused(database: Sessions) -> None:
    job_id = queued(database)
    order(database, "pause", job_id)
    assert order(database, "cancel", job_id) == "CANCELLED"
    second = running(database).job_id
    cancel(database, second)
    with pytest.raises(Conflict, match="being cancelled"):
        order(database, "pause", second)


def test_an_account_with_one_job_waits_for_at_most_one_of_an_account_with_many(database: Sessions) -> None:
    for _ in range(20):
        queued(database, "many")
    first = claim(database)
    assert first is not None
    queued(database, "one")
    with database.begin() as session:
        assert finish(session, Claim.of(first))
    served = claim(database)
    assert served is not None
    assert served.account_id == "one"


@pytest.mark.slow
def test_accounts_are_served_in_turn_and_nobody_starves(database: Sessions) -> None:
    for number in range(60):
        queued(database, f"acct-{0 if number < 50 else number}")
    order_of_accounts = []
    while (job := claim(database)) is not None:
        order_of_accounts.append(job.account_id)
        with database.begin() as session:
            assert finish(session, Claim.of(job))
    assert len(order_of_accounts) == 60
    assert len(set(order_of_accounts[:11])) == 11  # everybody once before anybody twice


def test_a_job_that_did_not_fit_goes_back_with_changed_parameters(database: Sessions) -> None:
    held = running(database)
    with database.begin() as session:
        session.execute(update(Job).values(parameters={"batch_size": 8}))
        assert leases.adjust(session, held, {"accumulation": 2}, "It did not fit.")
        assert not leases.adjust(session, held, {"accumulation": 4}, "It did not fit.")
    job = get(database, held.job_id)
    assert (job.state, job.parameters) == ("QUEUED", {"batch_size": 8, "accumulation": 2})
    assert (job.crash_count, job.retry_count) == (0, 0)
