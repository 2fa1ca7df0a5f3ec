"""A job in the hands of a worker: claimed under a lease, kept by heartbeats, and given up in one of many ways.

All functions take a session inside a transaction that the caller opened. Each locks the job's row before it looks, so
whoever comes second sees what the first has done. Every one after `claim` takes the Claim; once the lease has run out
and the job was taken back, a Claim is over: with it they change nothing, and say so. What a worker writes in between is
in core.jobs.reports, what owners may order in core.jobs.control, and what dispatchers do in core.jobs.dispatch.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.orm import Session, aliased

from core.database.engine import now
from core.database.tables import Account, Adapter, Job, JobState, Json
from core.jobs import standing
from core.jobs.event_codes import EventCode
from core.jobs.states import end_failed, stop_if_asked, transition
from core.settings import Settings

CLAIM_LOCK = 4_160_752  # any number that nothing else locks
MAX_DELAY = 600.0  # seconds between two attempts
SHUTTING_DOWN = "The worker is shutting down; the job goes on elsewhere."


@dataclass(frozen=True)
class Claim:
    """One worker's right to one attempt at a job; the attempt's number is the fencing token, and grows with each."""

    job_id: str
    attempt: int

    @classmethod
    def of(cls, job: Job) -> Claim:
        """Return the claim under which a job that was just taken is worked on."""
        return cls(job.id, job.attempt)


@dataclass(frozen=True)
class Orders:
    """What a heartbeat brings back to the worker."""

    cancel: bool
    deadline_at: float | None
    pause: bool = False


def claim(session: Session, *, queue: str, worker_id: str, lease_seconds: float, account_job_limit: int) -> Job | None:
    """Take the next due job of the queue, fairly between accounts, under a lease; `Claim.of` it is the new claim."""
    if session.get_bind().dialect.name == "postgresql":
        # one claim at a time, or two could count an account's running jobs before either has added one
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLAIM_LOCK})
    at = now(session)
    job = session.scalar(_next_due(queue, at, account_job_limit))
    if job is None:
        return None
    job.attempt, job.worker_id, job.stage = job.attempt + 1, worker_id, "prepare"
    job.lease_until, job.heartbeat_at = at + lease_seconds, at
    job.progress, job.progress_step, job.progress_at, job.eta_seconds = 0.0, 0, at, None
    job.started_at = job.started_at or at
    which = "" if job.attempt == 1 else f" (attempt {job.attempt})"
    words, data = f"A worker has taken the job{which}.", {"attempt": job.attempt}
    transition(session, job, JobState.RUNNING, words, code=EventCode.TAKEN, data=data, actor=worker_id)
    _note_served(session, job.account_id, at)
    return job


def _note_served(session: Session, account_id: str, at: float) -> None:
    """Let others go first the next time; an account that somebody has locked goes without: they may want the job."""
    free = select(Account.id).where(Account.id == account_id).with_for_update(skip_locked=True)
    session.execute(
        update(Account).where(Account.id.in_(free)).values(served_at=at).execution_options(synchronize_session=False)
    )


def _next_due(queue: str, at: float, account_job_limit: int) -> Select[Job]:
    other = aliased(Job)
    running = (
        select(func.count())
        .where(other.account_id == Job.account_id, other.state == JobState.RUNNING)
        .correlate(Job)
        .scalar_subquery()
    )
    # among accounts with as few running jobs, the one that has waited longest; never served comes first
    served = func.coalesce(Account.served_at, 0.0)
    return (
        select(Job)
        .join(Account, Account.id == Job.account_id)
        .where(Job.queue == queue, Job.state == JobState.QUEUED, Job.not_before <= at, running < account_job_limit)
        .where(Job.deleted_at.is_(None), Account.erased_at.is_(None))
        .where(Job.deadline_at.is_(None) | (Job.deadline_at >= at))
        .order_by(Job.priority.desc(), running, served, Job.created_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Job)
        .execution_options(populate_existing=True)
    )


def heartbeat(
    session: Session,
    claim: Claim,
    lease_seconds: float,
    *,
    stage: str | None = None,
    step: int | None = None,
    progress: float | None = None,
    eta_seconds: float | None = None,
    course: Json | None = None,
) -> Orders | None:
    """Renew the lease and bring back orders; None means that the lease is lost: stop and write nothing more."""
    job = held(session, claim)
    if job is None:
        return None
    at = now(session)
    job.lease_until, job.heartbeat_at = at + lease_seconds, at
    if stage is not None:
        here = (stage, standing.counted(step or 0), progress or 0.0)
        if here != (job.stage, job.progress_step, job.progress):
            job.progress_at = at  # the time of the last progress, not of the last sign of life
        job.stage, job.progress_step, job.progress = here
        job.eta_seconds = eta_seconds
    job.course = course or job.course
    session.flush()
    return Orders(
        cancel=job.cancel_requested_at is not None,
        deadline_at=job.deadline_at,
        pause=job.pause_requested_at is not None,
    )


def resolve(session: Session, claim: Claim, parameters: Json) -> bool:
    """Write down what "auto" was resolved to."""
    job = held(session, claim)
    if job is None:
        return False
    job.parameters = parameters
    session.flush()
    return True


def finish(session: Session, claim: Claim, adapter: Adapter, outcome: Json, tokens: int | None = None) -> bool:
    """Publish the adapter and end the job; False where the lease is lost or the job was cancelled meanwhile."""
    job = held(session, claim)
    if job is None:
        return False
    if job.cancel_requested_at is not None:
        stop_if_asked(session, job)
        return False
    # an order to pause that comes now comes too late: there is nothing left to do
    adapter.created_at = now(session)
    session.add(adapter)
    job.outcome, job.trained_tokens, job.progress = outcome, tokens, 1.0
    words, data = f"The job succeeded: {adapter.id} is ready.", {"model": adapter.id, "step": adapter.published_step}
    transition(session, job, JobState.SUCCEEDED, words, code=EventCode.PUBLISHED, data=data)
    return True


def fail(session: Session, claim: Claim, code: str, message: str, param: str | None = None) -> bool:
    """End the job with an error code and a sentence that says what to do next; a cancelled one just ends."""
    job = held(session, claim)
    if job is None:
        return False
    if not stop_if_asked(session, job):
        end_failed(session, job, code, message, param)
    return True


def retry(session: Session, claim: Claim, code: str, message: str, settings: Settings) -> bool:
    """Give the job back to the queue after a passing fault, with a doubling delay; too many at one place end it."""
    job = held(session, claim)
    if job is None:
        return False
    if stop_if_asked(session, job):
        return True
    job.retry_count += 1
    if job.retry_count > settings.max_retries:
        times = f"It was tried {job.retry_count} times and got no further"
        end_failed(session, job, code, f"{message} {times}: it stands where it did, {standing.place(job)}.")
        return True
    delay = min(settings.retry_seconds * 2 ** (job.retry_count - 1), MAX_DELAY)
    job.not_before = now(session) + delay
    words, data = f"{message} Trying again in {delay:.0f} s.", {"error_code": code, "seconds": delay}
    transition(session, job, JobState.QUEUED, words, code=EventCode.RETRIED, data=data, level="warn")
    return True


def release(session: Session, claim: Claim, words: str = SHUTTING_DOWN) -> bool:
    """Give the job back because the worker can't go on with any; this counts as neither crash nor retry."""
    job = held(session, claim)
    if job is None:
        return False
    if not stop_if_asked(session, job):
        transition(session, job, JobState.QUEUED, words, code=EventCode.RELEASED)
    return True


def stopped(session: Session, claim: Claim) -> bool:
    """Cancel or pause a running job whose owner has asked for it; False where nobody has, or the lease is lost."""
    job = held(session, claim)
    return job is not None and stop_if_asked(session, job)


def adjust(session: Session, claim: Claim, changes: Json, words: str) -> bool:
    """Give a job back that can't go on as it is, with some of its parameters changed; `words` say which and why."""
    job = held(session, claim)
    if job is None:
        return False
    job.parameters = {**(job.parameters or {}), **changes}
    if not stop_if_asked(session, job):
        told = {"changes": {name: value for name, value in changes.items() if name != "reasons"}}
        transition(session, job, JobState.QUEUED, words, code=EventCode.ADJUSTED, data=told, level="warn")
    return True


def held(session: Session, claim: Claim) -> Job | None:
    """Return the running job of a claim, locked until the transaction ends; None where the claim is over."""
    statement = select(Job).where(Job.id == claim.job_id, Job.attempt == claim.attempt, Job.state == JobState.RUNNING)
    return session.scalar(statement.with_for_update().execution_options(populate_existing=True))
