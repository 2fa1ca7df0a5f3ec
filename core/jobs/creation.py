"""Letting a new job in: no more than its account may have, queued, with the first event of its history."""

from __future__ import annotations

from sqlalchemy.orm import Session

from core.accounts import quotas, reservations
from core.database.engine import now
from core.database.tables import Account, Job, JobEvent, JobState
from core.jobs import file_versions
from core.jobs.event_codes import EventCode
from core.jobs.events import coded
from core.settings import Settings


def create(
    session: Session, job: Job, settings: Settings, *, account: Account | None = None, stores: int | None = None
) -> Job:
    """Queue a new job; raises RateLimited or QuotaExceeded over the account's limits.

    `account` is the row of its owner, where the caller has locked it already; `stores` are the bytes that the job will
    probably store, where anything is known of that. That a call which is sent again makes one job only is for the
    caller to see to, with core.jobs.idempotency.
    """
    at = now(session)
    job.reserved_seconds = job.reserved_seconds or settings.job_gpu_seconds
    account = account or quotas.locked(session, job.account_id)
    needs = quotas.JobNeeds(job.reserved_seconds, settings.job_bytes if stores is None else stores)
    quotas.check_new_job(session, account, settings, needs, at)
    quotas.count_new_job(account, at)
    job.state, job.created_at = JobState.QUEUED, at
    session.add(job)
    session.flush()
    reservations.for_job(session, job.id, account.id, needs.bytes)
    # nobody else knows the job yet: there is no last event to look for and nobody to wait for
    queued = JobEvent(
        job_id=job.id,
        seq=1,
        created_at=at,
        message="The job is queued.",
        data=coded(EventCode.QUEUED, file_versions.noted(session, job)),
        to_state=job.state,
        actor="api",
    )
    session.add(queued)
    return job
