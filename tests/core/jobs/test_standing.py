"""Crashes and passing faults end a job that stands still, and none that gets further between them."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from core.database.tables import Job
from core.jobs import leases, reports, standing
from core.jobs.leases import Claim
from core.jobs.standing import MAX_ATTEMPTS
from tests.core.ledger import MAX_CRASHES, SETTINGS, Sessions, artifact, claim, crash, get, moves, queued, saved


def taken(database: Sessions, job_id: str) -> Claim:
    with database.begin() as session:
        session.execute(update(Job).where(Job.id == job_id).values(not_before=0.0))
    job = claim(database)
    assert job is not None
    assert job.id == job_id
    return Claim.of(job)


def finished(database: Sessions, held: Claim, stage: str) -> None:
    with database.begin() as session:
        assert reports.finish_stage(session, held, stage, [artifact()])


def retried(database: Sessions, held: Claim) -> Job:
    with database.begin() as session:
        assert leases.retry(session, held, "worker_crashed", "The trainer process was lost.", SETTINGS)
    return get(database, held.job_id)


def test_a_job_that_gets_further_each_time_outlives_any_number_of_crashes(database: Sessions) -> None:
    job_id = queued(database)
    for step in range(1, 4 * MAX_CRASHES):
        saved(database, taken(database, job_id), "train", step)
        job = crash(database, job_id)
        assert (job.state, job.crash_count) == ("QUEUED", 1)
    for count in (2, 3):
        saved(database, taken(database, job_id), "train", 11)  # where it was already
        assert crash(database, job_id).crash_count == count
    job = get(database, job_id)
    assert (job.state, job.error_code) == ("FAILED", "worker_crashed")
    assert "crashed 3 times at the same place, in the stage train after step 11." in (job.error_message or "")
    assert "references" not in (job.error_message or "")
    assert moves(database, job_id)[-1] == ("RUNNING", "FAILED")


def test_a_job_that_never_stores_anything_fails_after_three_crashes_and_says_what_to_try(database: Sessions) -> None:
    job_id = queued(database)
    for _ in range(MAX_CRASHES):
        taken(database, job_id)
        job = crash(database, job_id)
    assert job.state == "FAILED"
    assert "3 times at the same place, before anything of it was stored. Try fewer" in (job.error_message or "")


def test_a_stage_that_is_done_again_is_no_progress(database: Sessions) -> None:
    job_id = queued(database)
    for count in range(1, MAX_CRASHES + 1):
        held = taken(database, job_id)
        for stage in ("prepare", "surrogate"):
            finished(database, held, stage)
        saved(database, held, "surrogate", 40)
        assert crash(database, job_id).crash_count == count
    job = get(database, job_id)
    assert job.state == "FAILED"
    assert "after the stage surrogate" in (job.error_message or "")


def test_a_stage_that_begins_anew_with_other_parameters_gains_no_attempts_by_it(database: Sessions) -> None:
    job_id = queued(database)
    saved(database, taken(database, job_id), "train", 40)
    for count in range(1, MAX_CRASHES + 1):
        with database.begin() as session:
            held = Claim(job_id, get(database, job_id).attempt)
            assert leases.adjust(session, held, {"learning_rate": 0.1 / count}, "Half the learning rate.")
        saved(database, taken(database, job_id), "train", 10 * count)
        assert crash(database, job_id).crash_count == count
        if count < MAX_CRASHES:
            taken(database, job_id)
    assert get(database, job_id).state == "FAILED"


def test_passing_faults_are_counted_and_delayed_anew_once_the_job_got_further(database: Sessions) -> None:
    job_id = queued(database)
    for stage in ("prepare", "surrogate", "score"):
        finished(database, taken(database, job_id), stage)
        for count in range(1, SETTINGS.max_retries + 1):
            job = retried(database, Claim(job_id, get(database, job_id).attempt))
            assert (job.state, job.retry_count) == ("QUEUED", count)
            if count < SETTINGS.max_retries:
                taken(database, job_id)
    job = retried(database, taken(database, job_id))
    assert (job.state, job.error_code) == ("FAILED", "worker_crashed")
    assert "tried 3 times and got no further: it stands where it did, after the stage score." in (
        job.error_message or ""
    )


def test_a_trainer_that_makes_up_steps_can_not_go_on_for_ever(database: Sessions) -> None:
    job_id = queued(database, attempt=MAX_ATTEMPTS - 1)
    for count, step in enumerate((10**30, 5, 10**40)):
        saved(database, taken(database, job_id), "train", step)
        assert crash(database, job_id).crash_count == count + 1
    assert get(database, job_id).state == "FAILED"


@pytest.mark.parametrize("stage", ["", "../train", "publish"])
def test_a_stage_that_is_none_is_no_progress(stage: str) -> None:
    job = Job(attempt=1, furthest_step=0, crash_count=2, retry_count=0)
    standing.advance(job, stage, 5)
    assert (job.furthest_stage, job.crash_count) == (None, 2)
