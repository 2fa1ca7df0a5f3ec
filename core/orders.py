"""What the owner of a job may order: cancel, pause, resume; and where the job stands in the queue."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, aliased

from core.database.engine import ROWS, now
from core.database.tables import Job, JobState
from core.errors import Conflict
from core.events import record
from core.moves import move

CANCELLING = "Cancelling: the job stops after the present step."
PAUSING = "Pausing: the job stops after the present step, and keeps what it has."


def cancel(session: Session, job: Job) -> Job:
    """Cancel a job that waits at once, and order a running one to stop after its step; Conflict once it has ended."""
    session.refresh(job, with_for_update=True)
    if job.state in (JobState.QUEUED, JobState.PAUSED):
        move(session, job, JobState.CANCELLED, f"The job was cancelled while it was {job.state.lower()}.", actor="api")
    elif job.state == JobState.RUNNING:
        if job.cancel_requested_at is None:
            job.cancel_requested_at = now(session)
            record(session, job.id, CANCELLING, epoch=job.epoch, actor="api")
    elif job.state != JobState.CANCELLED:
        raise _ended(job, "cancelled", "job_not_cancellable")
    return job


def pause(session: Session, job: Job) -> Job:
    """Pause a queued job at once, and order a running one to save itself and stop; Conflict once it has ended."""
    session.refresh(job, with_for_update=True)
    if job.state == JobState.QUEUED:
        move(session, job, JobState.PAUSED, "The job is paused; resume it when you like.", actor="api")
    elif job.state == JobState.RUNNING:
        if job.cancel_requested_at is not None:
            raise Conflict("The job is being cancelled; it can't be paused any more.", code="job_not_pausable")
        if job.pause_requested_at is None:
            job.pause_requested_at = now(session)
            record(session, job.id, PAUSING, epoch=job.epoch, actor="api")
    elif job.state != JobState.PAUSED:
        raise _ended(job, "paused", "job_not_pausable")
    return job


def resume(session: Session, job: Job) -> Job:
    """Queue a paused job again, or take back an order to pause; Conflict once the job has ended."""
    session.refresh(job, with_for_update=True)
    if job.state == JobState.PAUSED:
        job.not_before = 0.0
        move(session, job, JobState.QUEUED, "The job goes on: it waits for a worker.", actor="api")
    elif job.state == JobState.RUNNING and job.pause_requested_at is not None:
        job.pause_requested_at = None
        record(session, job.id, "The order to pause is taken back; the job goes on.", epoch=job.epoch, actor="api")
    elif job.state not in (JobState.QUEUED, JobState.RUNNING):
        raise _ended(job, "resumed", "job_not_resumable")
    return job


def _ended(job: Job, what: str, code: str) -> Conflict:
    return Conflict(f"The job has already ended ({job.state.lower()}); it can't be {what} any more.", code=code)


_AHEAD = aliased(Job)
_WAITING = select(ROWS).where(_AHEAD.queue == Job.queue, _AHEAD.state == JobState.QUEUED).correlate(Job)
_MORE_URGENT = _WAITING.where(_AHEAD.priority > Job.priority).scalar_subquery()
_OLDER = _WAITING.where(_AHEAD.priority == Job.priority, _AHEAD.created_at < Job.created_at).scalar_subquery()
# built once, because every look at a queued job asks it
# two counts, because each reads one stretch of the index ix_job_claim; with OR all that wait are read
_POSITIONS = select(Job.id, _MORE_URGENT + _OLDER).where(
    Job.id.in_(bindparam("job_ids", expanding=True)), Job.state == JobState.QUEUED
)


def queue_positions(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    """How many jobs of the queue stand before each of these that has not begun."""
    rows = session.execute(_POSITIONS, {"job_ids": job_ids})
    return {row[0]: row[1] for row in rows}
