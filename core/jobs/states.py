"""How a job moves from one state to another: always by `transition`, which writes the event of it.

Whoever calls has locked the job's row, in a transaction of their own. Which moves there are stands beside the table,
in core.database.tables.jobs.
"""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.orm import Session

from core.accounts import reservations
from core.database.engine import now
from core.database.tables import Artifact, Job, JobState, Json
from core.database.tables.jobs import BORROWED, MOVES, TERMINAL
from core.jobs.event_codes import EventCode
from core.jobs.events import record
from core.webhooks.events import announce

PAUSED = "The job is paused; resume it when you like."


def transition(
    session: Session,
    job: Job,
    to: JobState,
    message: str,
    *,
    code: EventCode,
    data: Json | None = None,
    level: str = "info",
    actor: str = "worker",
) -> None:
    """Move a locked job to another state and write the event of it."""
    origin = JobState(job.state)
    assert to in MOVES[origin], f"{origin} -> {to} is not a move"
    with session.no_autoflush:  # a flush would write half of the change, and the table's checks refuse that
        at = now(session)
    job.state, job.pause_requested_at = to, None
    if to != JobState.RUNNING:
        job.stage = job.lease_until = job.eta_seconds = None
    if to == JobState.QUEUED:
        job.worker_id = job.dispatched_at = None
    if to in TERMINAL:
        job.finished_at = at
    if to == JobState.CANCELLED:
        job.cancel_requested_at = job.cancel_requested_at or at
    if to in TERMINAL:
        announce(session, job)
        reservations.release(session, job.id)
        session.execute(delete(Artifact).where(Artifact.job_id == job.id, Artifact.kind == BORROWED))
    record(
        session,
        job.id,
        message,
        code=code,
        data=data,
        level=level,
        from_state=origin,
        to_state=to,
        attempt=job.attempt,
        actor=actor,
    )


def end_failed(
    session: Session, job: Job, code: str, message: str, param: str | None = None, *, actor: str = "worker"
) -> None:
    """End a locked job with an error."""
    message = message.replace("\0", "")  # PostgreSQL has no such character
    job.error_code, job.error_message, job.error_param = code, message, param
    told: Json = {"error_code": code, "param": param}
    words = f"The job failed: {message}"
    transition(session, job, JobState.FAILED, words, code=EventCode.FAILED, data=told, level="error", actor=actor)


def stop_if_asked(session: Session, job: Job, *, actor: str = "worker") -> bool:
    """End or pause a locked running job whose owner has asked for it; False where nothing was asked."""
    if job.cancel_requested_at is not None:
        transition(session, job, JobState.CANCELLED, "The job was cancelled.", code=EventCode.CANCELLED, actor=actor)
        return True
    if job.pause_requested_at is not None:
        transition(session, job, JobState.PAUSED, PAUSED, code=EventCode.PAUSED, actor=actor)
        return True
    return False
