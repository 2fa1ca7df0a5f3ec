"""Letting a new job in: one job for one Idempotency-Key, and no more than the account may have."""

from __future__ import annotations

from sqlalchemy.orm import Session

from core.accounts import quotas
from core.database.engine import now
from core.database.tables import Account, Idempotency, Job, JobEvent, JobState
from core.jobs.idempotency import first_answer
from core.settings import Settings


def create(
    session: Session,
    job: Job,
    settings: Settings,
    *,
    account: Account | None = None,
    idempotency_key: str | None = None,
    request_sha256: str = "",
) -> Job:
    """Queue a new job, or return the first one for a key that is repeated within a day, unless that was deleted.

    `account` is the row of its owner, where the caller has locked it already. Raises RateLimited or QuotaExceeded over
    the account's limits, Conflict where the key was used for another request.
    """
    at = now(session)
    if idempotency_key is not None:
        first = first_answer(session, job.account_id, idempotency_key, request_sha256, at)
        if first is not None:
            return first
    job.reserved_seconds = job.reserved_seconds or settings.job_gpu_seconds
    account = account or quotas.locked(session, job.account_id)
    quotas.check_new_job(session, account, settings, job.reserved_seconds, at)
    job.state, job.created_at = JobState.QUEUED, at
    session.add(job)
    session.flush()
    if idempotency_key is not None:
        session.get_one(Idempotency, (job.account_id, idempotency_key)).job_id = job.id
    # nobody else knows the job yet: there is no last event to look for and nobody to wait for
    queued = JobEvent(
        job_id=job.id, seq=1, created_at=at, message="The job is queued.", to_state=job.state, actor="api"
    )
    session.add(queued)
    return job
