"""Letting a new job in: one job for one Idempotency-Key, and no more than the account may have."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.accounts import quotas
from core.database.engine import now
from core.database.tables import Account, Idempotency, Job, JobEvent, JobState
from core.errors import Conflict
from core.settings import Settings

IDEMPOTENCY_SECONDS = 24 * 3600


def create(
    session: Session, job: Job, settings: Settings, *, account: Account | None = None,
    idempotency_key: str | None = None, request_sha256: str = "",
) -> Job:  # fmt: skip
    """Queue a new job, or return the first one for a key that is repeated within a day, unless that was deleted.

    `account` is the row of its owner, where the caller has locked it already. Raises RateLimited or QuotaExceeded over
    the account's limits, Conflict where the key was used for another request.
    """
    at = now(session)
    if idempotency_key is not None:
        first = _first_answer(session, job.account_id, idempotency_key, request_sha256, at)
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


def _first_answer(session: Session, account_id: str, key: str, request_sha256: str, at: float) -> Job | None:
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    deleted = select(Job.id).where(Job.id == Idempotency.job_id, Job.deleted_at.is_not(None)).exists()
    session.execute(
        delete(Idempotency)
        .where(Idempotency.account_id == account_id, Idempotency.key == key)
        .where((Idempotency.created_at <= at - IDEMPOTENCY_SECONDS) | deleted)
        .execution_options(synchronize_session=False)
    )
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
            code="idempotency_mismatch",
            param="Idempotency-Key",
        )
    return session.get(Job, row.job_id) if row.job_id else None
