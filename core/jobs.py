"""Job states and every move between them: the only SQL that changes a state.

All functions take a session inside a transaction that the caller opened. Those that a worker calls carry the epoch
of its claim; with an older epoch they change nothing and say so (the fencing token of the lease).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import CursorResult, Update, case, func, select, text, update
from sqlalchemy.orm import Session, aliased

from core.database import now
from core.errors import Conflict, RateLimited
from core.events import record
from core.models import Adapter, Idempotency, Job, Json
from core.settings import Settings

IDEMPOTENCY_SECONDS = 24 * 3600


class JobState(StrEnum):
    """Where a job is; only the moves of MOVES happen."""

    QUEUED = "QUEUED"  # waits for a worker
    RUNNING = "RUNNING"  # a worker holds its lease
    SUCCEEDED = "SUCCEEDED"  # its adapter is published
    FAILED = "FAILED"  # ended with an error code
    CANCELLED = "CANCELLED"  # ended by its owner
    EXPIRED = "EXPIRED"  # its deadline passed before it began


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})
MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    **{state: frozenset() for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)},
}


@dataclass(frozen=True)
class Orders:
    """What a heartbeat brings back to the worker."""

    cancel: bool
    deadline_at: float | None


def create(
    session: Session, job: Job, settings: Settings, *, idempotency_key: str | None = None, request_sha256: str = ""
) -> Job:
    """Queue a new job, or return the first one for a repeated key.

    Raises RateLimited over the account's limit of active jobs, Conflict where the key was used for another request.
    """
    at = now(session)
    if idempotency_key is not None:
        first = _first_answer(session, job.account_id, idempotency_key, request_sha256, at)
        if first is not None:
            return first
    _check_limit(session, job.account_id, settings.active_job_limit)
    job.state, job.created_at = JobState.QUEUED, at
    session.add(job)
    session.flush()
    if idempotency_key is not None:
        row = session.get_one(Idempotency, (job.account_id, idempotency_key))
        row.job_id = job.id
    record(session, job.id, "The job is queued.", to_state=JobState.QUEUED, actor="api")
    return job


def _first_answer(session: Session, account_id: str, key: str, request_sha256: str, at: float) -> Job | None:
    from sqlalchemy.dialects import postgresql, sqlite

    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    # the insert takes the row's lock: a second caller with this key waits here for the first one's commit
    session.execute(
        insert(Idempotency)
        .values(account_id=account_id, key=key, request_sha256=request_sha256, created_at=at)
        .on_conflict_do_nothing()
    )
    row = session.get_one(Idempotency, (account_id, key), populate_existing=True)
    if row.request_sha256 != request_sha256:
        raise Conflict(
            "This Idempotency-Key was used for another request. Send a new key with a new request.",
            code="idempotency_mismatch", param="Idempotency-Key",
        )  # fmt: skip
    return session.get(Job, row.job_id) if row.job_id else None


def _check_limit(session: Session, account_id: str, limit: int) -> None:
    # locks the account's row on PostgreSQL, so that parallel creates count one after the other
    session.execute(text("SELECT id FROM account WHERE id = :id" + _for_update(session)), {"id": account_id})
    active = session.scalar(
        select(func.count()).where(Job.account_id == account_id, Job.state.in_((JobState.QUEUED, JobState.RUNNING)))
    )
    if (active or 0) >= limit:
        raise RateLimited(
            f"{active} jobs are queued or running, and {limit} may be at once. Wait for one to end, or cancel one.",
            code="active_job_limit", retry_after=60.0,
        )  # fmt: skip


def _for_update(session: Session, skip: bool = False) -> str:
    if session.get_bind().dialect.name == "sqlite":
        return ""
    return " FOR UPDATE SKIP LOCKED" if skip else " FOR UPDATE"


def claim(session: Session, *, queue: str, worker_id: str, lease_seconds: float, account_job_limit: int) -> Job | None:
    """Take the next due job of the queue, fairly between accounts; sets lease and epoch in the same statement."""
    at = now(session)
    other = aliased(Job)
    running = (
        select(func.count())
        .where(other.account_id == Job.account_id, other.state == JobState.RUNNING)
        .correlate(Job)
        .scalar_subquery()
    )
    candidate = (
        select(Job.id)
        .where(
            Job.queue == queue, Job.state == JobState.QUEUED, Job.not_before <= at, Job.cancel_requested_at.is_(None),
            running < account_job_limit,
        )
        .order_by(Job.priority.desc(), running, Job.created_at, Job.id)
        .limit(1)
    )  # fmt: skip
    if session.get_bind().dialect.name != "sqlite":
        candidate = candidate.with_for_update(skip_locked=True, of=Job)
    job_id = session.scalar(candidate)
    if job_id is None:
        return None
    values = {
        "state": JobState.RUNNING, "stage": "prepare", "epoch": Job.epoch + 1, "worker_id": worker_id,
        "lease_until": at + lease_seconds, "heartbeat_at": at, "progress_at": at, "progress": 0.0, "eta_seconds": None,
        "started_at": func.coalesce(Job.started_at, at),
    }  # fmt: skip
    if not _moved(session, update(Job).where(Job.id == job_id, Job.state == JobState.QUEUED).values(values)):
        return None
    job = session.get_one(Job, job_id, populate_existing=True)
    words = "A worker has taken the job." if job.epoch == 1 else f"A worker has taken the job (attempt {job.epoch})."
    record(
        session, job.id, words, from_state=JobState.QUEUED, to_state=JobState.RUNNING, epoch=job.epoch, actor=worker_id
    )
    return job


def heartbeat(
    session: Session, job_id: str, epoch: int, lease_seconds: float, *, stage: str | None = None, step: int | None = None,
    progress: float | None = None, eta_seconds: float | None = None,
) -> Orders | None:  # fmt: skip
    """Renew the lease and bring back orders; None means that the lease is lost: stop and write nothing more."""
    at = now(session)
    values: dict[str, Any] = {"lease_until": at + lease_seconds, "heartbeat_at": at}
    if stage is not None:
        values |= {"stage": stage, "progress": progress or 0.0, "eta_seconds": eta_seconds, "progress_at": at}
        values["progress_step"] = step or 0
    if not _moved(session, _held(job_id, epoch).values(values)):
        return None
    job = session.get_one(Job, job_id, populate_existing=True)
    return Orders(cancel=job.cancel_requested_at is not None, deadline_at=job.deadline_at)


def resolve(session: Session, job_id: str, epoch: int, parameters: Json) -> bool:
    """Write down what "auto" was resolved to."""
    return _moved(session, _held(job_id, epoch).values(parameters=parameters))


def finish(
    session: Session, job_id: str, epoch: int, adapter: Adapter, outcome: Json, tokens: int | None = None
) -> bool:
    """Publish the adapter and end the job; False where the lease is lost or the job was cancelled meanwhile."""
    at = now(session)
    values = {
        "state": JobState.SUCCEEDED, "lease_until": None, "finished_at": at, "outcome": outcome, "progress": 1.0,
        "eta_seconds": 0.0, "stage": None, "trained_tokens": tokens,
    }  # fmt: skip
    statement = _held(job_id, epoch).where(Job.cancel_requested_at.is_(None)).values(values)
    if not _moved(session, statement):
        cancelled(session, job_id, epoch)
        return False
    adapter.created_at = at
    session.add(adapter)
    _moved_event(session, job_id, JobState.SUCCEEDED, f"The job succeeded: {adapter.id} is ready.", epoch)
    return True


def fail(session: Session, job_id: str, epoch: int, code: str, message: str, param: str | None = None) -> bool:
    """End the job with an error code and a sentence that says what to do next."""
    values = _ended(session, JobState.FAILED) | {"error_code": code, "error_message": message, "error_param": param}
    if not _moved(session, _held(job_id, epoch).values(values)):
        return False
    _moved_event(session, job_id, JobState.FAILED, f"The job failed: {message}", epoch, level="error")
    return True


def retry(session: Session, job_id: str, epoch: int, code: str, message: str, settings: Settings) -> bool:
    """Give the job back to the queue after a passing fault, with a doubling delay; too many end it."""
    job = session.get(Job, job_id, populate_existing=True)
    if job is None or job.epoch != epoch or job.state != JobState.RUNNING:
        return False
    if job.retry_count + 1 > settings.max_retries:
        return fail(session, job_id, epoch, code, f"{message} It was tried {job.retry_count + 1} times.")
    delay = settings.retry_seconds * 2**job.retry_count
    values = _released() | {"retry_count": Job.retry_count + 1, "not_before": now(session) + delay}
    if not _moved(session, _held(job_id, epoch).values(values)):
        return False
    _moved_event(session, job_id, JobState.QUEUED, f"{message} Trying again in {delay:.0f} s.", epoch, level="warn")
    return True


def release(session: Session, job_id: str, epoch: int) -> bool:
    """Give the job back because the worker is shutting down; this counts as neither crash nor retry."""
    if not _moved(session, _held(job_id, epoch).values(_released())):
        return False
    _moved_event(session, job_id, JobState.QUEUED, "The worker is shutting down; the job goes on elsewhere.", epoch)
    return True


def cancel(session: Session, job: Job) -> Job:
    """Cancel a queued job at once, and order a running one to stop between two steps; Conflict once it has ended."""
    if job.state == JobState.CANCELLED:
        return job
    at = now(session)
    values = _ended(session, JobState.CANCELLED) | {"cancel_requested_at": at}
    if _moved(session, update(Job).where(Job.id == job.id, Job.state == JobState.QUEUED).values(values)):
        _moved_event(
            session,
            job.id,
            JobState.CANCELLED,
            "The job was cancelled before it began.",
            job.epoch,
            actor="api",
            origin=JobState.QUEUED,
        )
    elif _moved(
        session,
        update(Job)
        .where(Job.id == job.id, Job.state == JobState.RUNNING, Job.cancel_requested_at.is_(None))
        .values(cancel_requested_at=at),
    ):
        record(session, job.id, "Cancelling: the job stops after the present step.", actor="api")
    session.refresh(job)
    if job.state in TERMINAL and job.state != JobState.CANCELLED:
        raise Conflict(f"The job has already ended ({job.state.lower()}); only a job that waits or runs can be cancelled.",
                       code="job_not_cancellable")  # fmt: skip
    return job


def cancelled(session: Session, job_id: str, epoch: int) -> bool:
    """End a running job whose owner has asked for it."""
    statement = _held(job_id, epoch).where(Job.cancel_requested_at.is_not(None))
    if not _moved(session, statement.values(_ended(session, JobState.CANCELLED))):
        return False
    _moved_event(session, job_id, JobState.CANCELLED, "The job was cancelled.", epoch)
    return True


def reap(session: Session, max_crashes: int) -> list[str]:
    """Take back the jobs whose lease has run out; returns their ids. Any number of reapers may race."""
    at = now(session)
    poisoned = Job.crash_count + 1 >= max_crashes
    state = case(
        (Job.cancel_requested_at.is_not(None), JobState.CANCELLED), (poisoned, JobState.FAILED), else_=JobState.QUEUED
    )
    ended = case((Job.cancel_requested_at.is_not(None), at), (poisoned, at), else_=None)
    message = "The worker crashed on this job three times in a row. Try fewer or smaller references, or ask the operator to look into the log."
    values = _released() | {
        "state": state, "crash_count": Job.crash_count + 1, "finished_at": ended,
        "error_code": case((poisoned & Job.cancel_requested_at.is_(None), "worker_crashed"), else_=None),
        "error_message": case((poisoned & Job.cancel_requested_at.is_(None), message), else_=None),
    }  # fmt: skip
    statement = update(Job).where(Job.state == JobState.RUNNING, Job.lease_until < at).values(values)
    rows = session.execute(
        statement.returning(Job.id, Job.state, Job.epoch), execution_options={"synchronize_session": False}
    ).all()
    words = {JobState.QUEUED: "The worker was lost; the job waits for another.", JobState.CANCELLED: "The job was cancelled.",
             JobState.FAILED: f"The job failed: {message}"}  # fmt: skip
    for job_id, moved_to, epoch in rows:
        _moved_event(
            session, job_id, JobState(moved_to), words[JobState(moved_to)], epoch, level="warn", actor="dispatcher"
        )
    return [row[0] for row in rows]


def expire(session: Session) -> int:
    """End queued jobs whose deadline has passed; returns how many."""
    statement = update(Job).where(Job.state == JobState.QUEUED, Job.deadline_at < now(session))
    message = "The job's deadline passed before a worker was free. Create it again, or add workers."
    values = _ended(session, JobState.EXPIRED) | {"error_code": "deadline_exceeded", "error_message": message}
    ids = session.scalars(
        statement.values(values).returning(Job.id), execution_options={"synchronize_session": False}
    ).all()
    for job_id in ids:
        _moved_event(
            session, job_id, JobState.EXPIRED, message, None, level="error", actor="dispatcher", origin=JobState.QUEUED
        )
    return len(ids)


def due(session: Session, *, wake_again_seconds: float) -> Sequence[tuple[str, int]]:
    """Queues with jobs that should get a wake-up now, and how many; marks those jobs as dispatched."""
    at = now(session)
    waiting = (Job.state == JobState.QUEUED) & (Job.not_before <= at)
    stale = Job.dispatched_at.is_(None) | (Job.dispatched_at < at - wake_again_seconds)
    rows = session.execute(select(Job.queue, func.count()).where(waiting, stale).group_by(Job.queue)).all()
    if rows:
        session.execute(
            update(Job).where(waiting, stale).values(dispatched_at=at), execution_options={"synchronize_session": False}
        )
    return [(str(queue), int(count)) for queue, count in rows]


def queue_position(session: Session, job: Job) -> int | None:
    """How many jobs of the queue stand before this one; None once it has begun."""
    if job.state != JobState.QUEUED:
        return None
    earlier = (Job.priority > job.priority) | ((Job.priority == job.priority) & (Job.created_at < job.created_at))
    return int(
        session.scalar(select(func.count()).where(Job.queue == job.queue, Job.state == JobState.QUEUED, earlier)) or 0
    )


def broken_invariants(session: Session) -> list[str]:
    """Sentences about jobs that are in a state which can't be; empty where all is well."""
    terminal = Job.state.in_(TERMINAL)
    published = select(Adapter.job_id).where(Adapter.job_id == Job.id).exists()
    checks = {
        "a running job has no lease": (Job.state == JobState.RUNNING) & Job.lease_until.is_(None),
        "a queued job is asked to stop": (Job.state == JobState.QUEUED) & Job.cancel_requested_at.is_not(None),
        "an ended job holds a lease": terminal & Job.lease_until.is_not(None),
        "a succeeded job has no adapter": (Job.state == JobState.SUCCEEDED) & ~published & Job.deleted_at.is_(None),
        "a job that did not succeed has an adapter": (Job.state != JobState.SUCCEEDED) & published,
    }
    return [
        words for words, broken in checks.items() if session.scalar(select(func.count()).select_from(Job).where(broken))
    ]


def _held(job_id: str, epoch: int) -> Update:
    return update(Job).where(Job.id == job_id, Job.epoch == epoch, Job.state == JobState.RUNNING)


def _released() -> dict[str, Any]:
    return {
        "state": JobState.QUEUED,
        "stage": None,
        "worker_id": None,
        "lease_until": None,
        "dispatched_at": None,
        "eta_seconds": None,
    }


def _ended(session: Session, state: JobState) -> dict[str, Any]:
    return {"state": state, "stage": None, "lease_until": None, "finished_at": now(session), "eta_seconds": None}


def _moved(session: Session, statement: Update) -> bool:
    result = session.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def _moved_event(
    session: Session, job_id: str, state: JobState, message: str, epoch: int | None, *, level: str = "info",
    actor: str = "worker", origin: JobState = JobState.RUNNING,
) -> None:  # fmt: skip
    assert state in MOVES[origin], f"{origin} -> {state} is not a move"
    record(session, job_id, message, level=level, from_state=origin, to_state=state, epoch=epoch, actor=actor)
