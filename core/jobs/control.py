"""What the owner of a job may order: cancel, pause, resume. Each says whether that changed anything."""

from __future__ import annotations

from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Job, JobState
from core.errors import Conflict
from core.jobs.event_codes import EventCode
from core.jobs.events import record
from core.jobs.states import PAUSED, transition

CANCELLING = "Cancelling: the job stops after the present step."
PAUSING = "Pausing: the job stops after the present step, and keeps what it has."


def cancel(session: Session, job: Job) -> bool:
    """Cancel a job that waits at once, and order a running one to stop after its step; Conflict once it has ended."""
    session.refresh(job, with_for_update=True)
    if job.state in (JobState.QUEUED, JobState.PAUSED):
        words = f"The job was cancelled while it was {job.state.lower()}."
        transition(session, job, JobState.CANCELLED, words, code=EventCode.CANCELLED, actor="api")
    elif job.state == JobState.RUNNING and job.cancel_requested_at is None:
        job.cancel_requested_at = now(session)
        record(session, job.id, CANCELLING, code=EventCode.CANCELLING, attempt=job.attempt, actor="api")
    elif job.state in (JobState.RUNNING, JobState.CANCELLED):
        return False
    else:
        raise _ended(job, "cancelled", "job_not_cancellable")
    return True


def pause(session: Session, job: Job) -> bool:
    """Pause a queued job at once, and order a running one to save itself and stop; Conflict once it has ended."""
    session.refresh(job, with_for_update=True)
    if job.state == JobState.QUEUED:
        transition(session, job, JobState.PAUSED, PAUSED, code=EventCode.PAUSED, actor="api")
    elif job.state == JobState.RUNNING:
        if job.cancel_requested_at is not None:
            raise Conflict("The job is being cancelled; it can't be paused any more.", code="job_not_pausable")
        if job.pause_requested_at is not None:
            return False
        job.pause_requested_at = now(session)
        record(session, job.id, PAUSING, code=EventCode.PAUSING, attempt=job.attempt, actor="api")
    elif job.state == JobState.PAUSED:
        return False
    else:
        raise _ended(job, "paused", "job_not_pausable")
    return True


def resume(session: Session, job: Job) -> bool:
    """Queue a paused job again, or take back an order to pause; Conflict once the job has ended."""
    session.refresh(job, with_for_update=True)
    if job.state == JobState.PAUSED:
        job.not_before = 0.0
        words = "The job goes on: it waits for a worker."
        transition(session, job, JobState.QUEUED, words, code=EventCode.RESUMED, actor="api")
    elif job.state == JobState.RUNNING and job.pause_requested_at is not None:
        job.pause_requested_at = None
        words = "The order to pause is taken back; the job goes on."
        record(session, job.id, words, code=EventCode.PAUSE_WITHDRAWN, attempt=job.attempt, actor="api")
    elif job.state in (JobState.QUEUED, JobState.RUNNING):
        return False
    else:
        raise _ended(job, "resumed", "job_not_resumable")
    return True


def _ended(job: Job, what: str, code: str) -> Conflict:
    return Conflict(f"The job has already ended ({job.state.lower()}); it can't be {what} any more.", code=code)
