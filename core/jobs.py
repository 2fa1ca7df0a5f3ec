"""Job states and every move between them: the only code that changes a state.

All functions take a session inside a transaction that the caller opened. Each locks the job's row before it looks, so
whoever comes second sees what the first has done. Functions that a worker calls carry the epoch of its claim; with an
older epoch they change nothing and say so (the fencing token of the lease).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, bindparam, func, select, text, update
from sqlalchemy.orm import Session, aliased

from core.admission import create
from core.database import ROWS, now
from core.errors import Conflict
from core.events import held, record
from core.invariants import broken_invariants
from core.models import Adapter, Job, JobState, Json
from core.settings import Settings

__all__ = [
    "MOVES", "TERMINAL", "JobState", "Orders", "broken_invariants", "cancel", "cancelled", "claim", "create", "due",
    "expire", "fail", "finish", "heartbeat", "queue_positions", "reap", "release", "resolve", "retry",
]  # fmt: skip

MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.EXPIRED: frozenset(),
}
TERMINAL = frozenset(state for state, moves in MOVES.items() if not moves)
CLAIM_LOCK = 4_160_752  # any number that nothing else locks
LONGEST_DELAY = 600.0  # seconds between two attempts


@dataclass(frozen=True)
class Orders:
    """What a heartbeat brings back to the worker."""

    cancel: bool
    deadline_at: float | None


def claim(session: Session, *, queue: str, worker_id: str, lease_seconds: float, account_job_limit: int) -> Job | None:
    """Take the next due job of the queue, fairly between accounts, under a lease and a new epoch."""
    if session.get_bind().dialect.name == "postgresql":
        # one claim at a time, or two could count an account's running jobs before either has added one
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLAIM_LOCK})
    at = now(session)
    job = session.scalar(_next_due(queue, at, account_job_limit))
    if job is None:
        return None
    job.epoch, job.worker_id, job.stage = job.epoch + 1, worker_id, "prepare"
    job.lease_until, job.heartbeat_at = at + lease_seconds, at
    job.progress, job.progress_step, job.progress_at, job.eta_seconds = 0.0, 0, at, None
    job.started_at = job.started_at or at
    attempt = "" if job.epoch == 1 else f" (attempt {job.epoch})"
    _move(session, job, JobState.RUNNING, f"A worker has taken the job{attempt}.", actor=worker_id)
    return job


def _next_due(queue: str, at: float, account_job_limit: int) -> Select[Job]:
    other = aliased(Job)
    running = (
        select(func.count())
        .where(other.account_id == Job.account_id, other.state == JobState.RUNNING)
        .correlate(Job)
        .scalar_subquery()
    )
    return (
        select(Job)
        .where(Job.queue == queue, Job.state == JobState.QUEUED, Job.not_before <= at, running < account_job_limit)
        .where(Job.deleted_at.is_(None), Job.deadline_at.is_(None) | (Job.deadline_at >= at))
        .order_by(Job.priority.desc(), running, Job.created_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Job)
        .execution_options(populate_existing=True)
    )


def heartbeat(
    session: Session,
    job_id: str,
    epoch: int,
    lease_seconds: float,
    *,
    stage: str | None = None,
    step: int | None = None,
    progress: float | None = None,
    eta_seconds: float | None = None,
) -> Orders | None:
    """Renew the lease and bring back orders; None means that the lease is lost: stop and write nothing more."""
    job = held(session, job_id, epoch)
    if job is None:
        return None
    at = now(session)
    job.lease_until, job.heartbeat_at = at + lease_seconds, at
    if stage is not None:
        here = (stage, step or 0, progress or 0.0)
        if here != (job.stage, job.progress_step, job.progress):
            job.progress_at = at  # the time of the last progress, not of the last sign of life
        job.stage, job.progress_step, job.progress = here
        job.eta_seconds = eta_seconds
    session.flush()
    return Orders(cancel=job.cancel_requested_at is not None, deadline_at=job.deadline_at)


def resolve(session: Session, job_id: str, epoch: int, parameters: Json) -> bool:
    """Write down what "auto" was resolved to."""
    job = held(session, job_id, epoch)
    if job is None:
        return False
    job.parameters = parameters
    session.flush()
    return True


def finish(
    session: Session, job_id: str, epoch: int, adapter: Adapter, outcome: Json, tokens: int | None = None
) -> bool:
    """Publish the adapter and end the job; False where the lease is lost or the job was cancelled meanwhile."""
    job = held(session, job_id, epoch)
    if job is None or _cancel_if_asked(session, job):
        return False
    adapter.created_at = now(session)
    session.add(adapter)
    job.outcome, job.trained_tokens, job.progress = outcome, tokens, 1.0
    _move(session, job, JobState.SUCCEEDED, f"The job succeeded: {adapter.id} is ready.")
    return True


def fail(session: Session, job_id: str, epoch: int, code: str, message: str, param: str | None = None) -> bool:
    """End the job with an error code and a sentence that says what to do next; a cancelled one just ends."""
    job = held(session, job_id, epoch)
    if job is None:
        return False
    if not _cancel_if_asked(session, job):
        _fail(session, job, code, message, param)
    return True


def retry(session: Session, job_id: str, epoch: int, code: str, message: str, settings: Settings) -> bool:
    """Give the job back to the queue after a passing fault, with a doubling delay; too many end it."""
    job = held(session, job_id, epoch)
    if job is None:
        return False
    if _cancel_if_asked(session, job):
        return True
    job.retry_count += 1
    if job.retry_count > settings.max_retries:
        _fail(session, job, code, f"{message} It was tried {job.retry_count} times.")
        return True
    delay = min(settings.retry_seconds * 2 ** (job.retry_count - 1), LONGEST_DELAY)
    job.not_before = now(session) + delay
    _move(session, job, JobState.QUEUED, f"{message} Trying again in {delay:.0f} s.", level="warn")
    return True


def release(session: Session, job_id: str, epoch: int) -> bool:
    """Give the job back because the worker is shutting down; this counts as neither crash nor retry."""
    job = held(session, job_id, epoch)
    if job is None:
        return False
    if not _cancel_if_asked(session, job):
        _move(session, job, JobState.QUEUED, "The worker is shutting down; the job goes on elsewhere.")
    return True


def cancel(session: Session, job: Job) -> Job:
    """Cancel a queued job at once, and order a running one to stop between two steps; Conflict once it has ended."""
    session.refresh(job, with_for_update=True)
    if job.state == JobState.QUEUED:
        _move(session, job, JobState.CANCELLED, "The job was cancelled before it began.", actor="api")
    elif job.state == JobState.RUNNING:
        if job.cancel_requested_at is None:
            job.cancel_requested_at = now(session)
            record(session, job.id, "Cancelling: the job stops after the present step.", epoch=job.epoch, actor="api")
    elif job.state != JobState.CANCELLED:
        raise Conflict(
            f"The job has already ended ({job.state.lower()}); only a job that waits or runs can be cancelled.",
            code="job_not_cancellable",
        )
    return job


def cancelled(session: Session, job_id: str, epoch: int) -> bool:
    """End a running job whose owner has asked for it."""
    job = held(session, job_id, epoch)
    return job is not None and _cancel_if_asked(session, job)


def reap(session: Session, max_crashes: int) -> list[str]:
    """Take back the jobs whose lease has run out; returns their ids. Any number of reapers may race."""
    lost = select(Job).where(Job.state == JobState.RUNNING, Job.lease_until < now(session)).order_by(Job.id)
    rows = session.scalars(lost.with_for_update(skip_locked=True).execution_options(populate_existing=True)).all()
    for job in rows:
        job.crash_count += 1
        if _cancel_if_asked(session, job, actor="dispatcher"):
            continue
        if job.crash_count >= max_crashes:
            times = "" if max_crashes == 1 else f" {job.crash_count} times"
            message = (
                f"The worker crashed on this job{times}. "
                "Try fewer or smaller references, or ask the operator to look into the log."
            )
            _fail(session, job, "worker_crashed", message, actor="dispatcher")
        else:
            words = "The worker was lost; the job waits for another."
            _move(session, job, JobState.QUEUED, words, level="warn", actor="dispatcher")
    return [job.id for job in rows]


def expire(session: Session) -> int:
    """End queued jobs whose deadline has passed; returns how many."""
    late = select(Job).where(Job.state == JobState.QUEUED, Job.deadline_at < now(session)).order_by(Job.id)
    rows = session.scalars(late.with_for_update(skip_locked=True).execution_options(populate_existing=True)).all()
    for job in rows:
        job.error_code = "deadline_exceeded"
        job.error_message = "The job's deadline passed before a worker was free. Create it again, or add workers."
        _move(session, job, JobState.EXPIRED, job.error_message, level="error", actor="dispatcher")
    return len(rows)


def due(session: Session, *, wake_again_seconds: float) -> Sequence[tuple[str, int]]:
    """Queues with jobs that should get a wake-up now, and how many; marks those jobs as dispatched."""
    at = now(session)
    waiting = (Job.state == JobState.QUEUED) & (Job.not_before <= at)
    stale = Job.dispatched_at.is_(None) | (Job.dispatched_at < at - wake_again_seconds)
    rows = session.execute(select(Job.queue, func.count()).where(waiting, stale).group_by(Job.queue)).all()
    if rows:
        session.execute(update(Job).where(waiting, stale).values(dispatched_at=at))
    return [(str(queue), int(count)) for queue, count in rows]


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


def _cancel_if_asked(session: Session, job: Job, *, actor: str = "worker") -> bool:
    if job.cancel_requested_at is None:
        return False
    _move(session, job, JobState.CANCELLED, "The job was cancelled.", actor=actor)
    return True


def _fail(
    session: Session, job: Job, code: str, message: str, param: str | None = None, *, actor: str = "worker"
) -> None:
    message = message.replace("\0", "")  # PostgreSQL has no such character
    job.error_code, job.error_message, job.error_param = code, message, param
    _move(session, job, JobState.FAILED, f"The job failed: {message}", level="error", actor=actor)


def _move(
    session: Session, job: Job, to: JobState, message: str, *, level: str = "info", actor: str = "worker"
) -> None:
    """Move a locked job to another state and write the event of it."""
    origin = JobState(job.state)
    assert to in MOVES[origin], f"{origin} -> {to} is not a move"
    with session.no_autoflush:  # a flush would write half of the change, and the table's checks refuse that
        at = now(session)
    job.state = to
    if to != JobState.RUNNING:
        job.stage = job.lease_until = job.eta_seconds = None
    if to == JobState.QUEUED:
        job.worker_id = job.dispatched_at = None
    if to in TERMINAL:
        job.finished_at = at
    if to == JobState.CANCELLED:
        job.cancel_requested_at = job.cancel_requested_at or at
    record(session, job.id, message, level=level, from_state=origin, to_state=to, epoch=job.epoch, actor=actor)
