"""Every move of a job on both databases: who may make it, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.database import invariants
from core.database.engine import now
from core.database.tables import Adapter, Job, JobState
from core.database.tables.jobs import MOVES, TERMINAL
from core.errors import Conflict
from core.jobs import dispatch, leases, queue
from core.jobs.leases import Claim
from tests.core.ledger import (
    SETTINGS,
    WRITES,
    Sessions,
    cancel,
    claim,
    finish,
    get,
    lose_lease,
    moves,
    queued,
    reap,
    running,
)


def test_a_job_goes_from_the_queue_to_a_published_adapter(database: Sessions) -> None:
    held = running(database)
    with database.begin() as session:
        assert leases.resolve(session, held, {"rank": 8})
        assert leases.heartbeat(session, held, 60, stage="train", step=3, progress=0.5, eta_seconds=9.0)
        assert finish(session, held)
    job = get(database, held.job_id)
    assert (job.state, job.progress, job.trained_tokens, job.lease_until) == ("SUCCEEDED", 1.0, 7, None)
    assert job.parameters == {"rank": 8}
    assert job.finished_at is not None
    assert moves(database, held.job_id) == [(None, "QUEUED"), ("QUEUED", "RUNNING"), ("RUNNING", "SUCCEEDED")]


def test_a_claim_takes_a_lease_and_begins_a_new_attempt_at_once(database: Sessions) -> None:
    job_id = queued(database)
    with database() as session:
        before = now(session)
    job = claim(database, lease=60)
    assert job is not None
    with database() as session:
        after = now(session)
    assert (Claim.of(job), job.stage, job.worker_id) == (Claim(job_id, 1), "prepare", "w")
    assert before + 60 <= (job.lease_until or 0) <= after + 60
    assert claim(database) is None


def test_a_job_that_is_not_due_or_is_past_its_deadline_is_not_claimed(database: Sessions) -> None:
    with database() as session:
        at = now(session)
    queued(database, not_before=at + 100)
    queued(database, deadline_at=at - 1)
    queued(database, queue="another")
    assert claim(database) is None


def test_a_second_adapter_for_a_job_is_refused_by_the_table(database: Sessions) -> None:
    held = running(database)
    with database.begin() as session:
        assert finish(session, held)
    with pytest.raises(IntegrityError), database.begin() as session:
        session.add(
            Adapter(
                id="x",
                job_id=held.job_id,
                account_id="acct-1",
                backbone="tiny",
                kind="images",
                attempt=2,
                published_step=1,
                created_at=0.0,
            )
        )


def test_heartbeats_bring_orders_back_and_tell_progress_from_life(database: Sessions) -> None:
    held = running(database)

    def beat(step: int) -> leases.Orders | None:
        with database.begin() as session:
            return leases.heartbeat(session, held, 60, stage="train", step=step, progress=step / 10)

    assert beat(1) == leases.Orders(cancel=False, deadline_at=None)
    moved = get(database, held.job_id).progress_at
    beat(1)
    assert get(database, held.job_id).progress_at == moved
    beat(2)
    assert (get(database, held.job_id).progress_at or 0) > (moved or 0)
    cancel(database, held.job_id)
    assert beat(2) == leases.Orders(cancel=True, deadline_at=None)


def test_a_lost_worker_costs_a_crash_and_the_third_ends_the_job(database: Sessions) -> None:
    job_id = queued(database)
    for crash in (1, 2, 3):
        assert claim(database) is not None
        assert reap(database) == []  # the lease still holds
        lose_lease(database, job_id)
        assert reap(database) == [job_id]
        assert get(database, job_id).crash_count == crash
    job = get(database, job_id)
    assert (job.state, job.error_code, job.attempt) == ("FAILED", "worker_crashed", 3)
    assert "3 times" in (job.error_message or "")


def test_a_passing_fault_is_tried_again_later_and_later_until_it_is_enough(database: Sessions) -> None:
    job_id = queued(database)
    delays = []
    for _ in range(3):
        job = claim(database)
        assert job is not None
        with database.begin() as session:
            at = now(session)
            assert leases.retry(session, Claim.of(job), "disk_full", "The disk was full.", SETTINGS)
        job = get(database, job_id)
        delays.append(round(job.not_before - at))
        assert claim(database) is None
        with database.begin() as session:
            session.execute(update(Job).values(not_before=0.0))
    assert delays[:2] == [10, 20]
    assert (job.state, job.error_code, job.crash_count) == ("FAILED", "disk_full", 0)
    assert "tried 3 times" in (job.error_message or "")


def test_a_released_job_counts_as_neither_crash_nor_retry(database: Sessions) -> None:
    held = running(database)
    with database.begin() as session:
        assert leases.release(session, held)
    job = get(database, held.job_id)
    assert (job.state, job.crash_count, job.retry_count, job.worker_id) == ("QUEUED", 0, 0, None)
    assert claim(database) is not None


def test_a_queued_job_is_cancelled_at_once_and_again_without_harm(database: Sessions) -> None:
    job_id = queued(database)
    assert cancel(database, job_id).state == JobState.CANCELLED
    assert cancel(database, job_id).state == JobState.CANCELLED
    assert moves(database, job_id)[-1] == ("QUEUED", "CANCELLED")
    assert claim(database) is None


WAYS_OUT: dict[str, Callable[[Session, Claim], object]] = {
    name: WRITES[name] for name in ("finish", "fail", "retry", "release", "cancelled")
}


@pytest.mark.slow
@pytest.mark.parametrize("way", [*WAYS_OUT, "crash"])
def test_whatever_a_cancelled_job_does_next_it_ends_cancelled(database: Sessions, way: str) -> None:
    held = running(database)
    assert cancel(database, held.job_id).state == JobState.RUNNING
    if way == "crash":
        lose_lease(database, held.job_id)
        reap(database)
    else:
        with database.begin() as session:
            WAYS_OUT[way](session, held)
    assert get(database, held.job_id).state == JobState.CANCELLED
    with database() as session:
        assert session.scalars(select(Adapter)).all() == []


def test_a_job_that_nobody_cancelled_is_not_ended_by_cancelled(database: Sessions) -> None:
    held = running(database)
    with database.begin() as session:
        assert not leases.stopped(session, held)
    assert get(database, held.job_id).state == JobState.RUNNING


def test_an_ended_job_can_not_be_cancelled(database: Sessions) -> None:
    held = running(database)
    with database.begin() as session:
        leases.fail(session, held, "diverged", "Lower the learning rate.")
    with pytest.raises(Conflict) as refusal:
        cancel(database, held.job_id)
    assert refusal.value.code == "job_not_cancellable"


def test_a_job_whose_deadline_passes_in_the_queue_expires(database: Sessions) -> None:
    with database() as session:
        at = now(session)
    late, timely = queued(database, deadline_at=at - 1), queued(database, deadline_at=at + 100)
    with database.begin() as session:
        assert dispatch.expire(session) == 1
    assert (get(database, late).state, get(database, late).error_code) == ("EXPIRED", "deadline_exceeded")
    assert get(database, timely).state == JobState.QUEUED


def test_no_account_runs_more_jobs_than_its_limit_and_the_idle_one_goes_first(database: Sessions) -> None:
    for _ in range(3):
        queued(database, "acct-1")
    queued(database, "acct-2")
    order = [job.account_id for job in iter(lambda: claim(database, limit=2), None)]
    assert order == ["acct-1", "acct-2", "acct-1"]


def test_a_higher_priority_goes_before_an_older_job(database: Sessions) -> None:
    queued(database)
    urgent = queued(database, priority=5)
    with database() as session:
        assert queue.queue_positions(session, [urgent]) == {urgent: 0}
    job = claim(database)
    assert job is not None
    assert job.id == urgent
    with database() as session:
        assert queue.queue_positions(session, [urgent]) == {}


def test_a_waiting_job_is_announced_once_a_period(database: Sessions) -> None:
    job_id = queued(database)
    queued(database, not_before=4e9)
    with database.begin() as session:
        assert dispatch.due(session, wake_again_seconds=60) == [("gpu", 1)]
        assert dispatch.due(session, wake_again_seconds=60) == []
        session.execute(update(Job).where(Job.id == job_id).values(dispatched_at=now(session) - 61))
        assert dispatch.due(session, wake_again_seconds=60) == [("gpu", 1)]


def test_what_must_never_be_is_found(database: Sessions) -> None:
    held = running(database)
    with database.begin() as session:
        assert invariants.broken_invariants(session) == []
        finish(session, held)
        assert invariants.broken_invariants(session) == []
    with database.begin() as session:
        session.delete(session.scalars(select(Adapter)).one())
        session.execute(update(Job).values(state="FAILED"))
        session.flush()
        assert invariants.broken_invariants(session) == ["a job's history ends in another state"]
        session.execute(update(Job).values(state="SUCCEEDED"))
        assert invariants.broken_invariants(session) == ["a succeeded job has no adapter"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {"state": "RUNNING"},
        {"state": "ASLEEP"},
        {"pause_requested_at": 1.0},
        {"lease_until": 1.0},
        {"cancel_requested_at": 1.0},
        {"state": "FAILED"},
        {"state": "SUCCEEDED", "finished_at": 1.0, "cancel_requested_at": 1.0},
    ],
)
def test_the_table_refuses_states_that_can_not_be(database: Sessions, values: dict[str, object]) -> None:
    queued(database)
    with pytest.raises(IntegrityError), database.begin() as session:
        session.execute(update(Job).values(values))


def test_nothing_leads_out_of_an_ended_state() -> None:
    assert set(MOVES) == set(JobState)
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED} == TERMINAL
