"""GPU seconds: what every attempt at a job has spent in its stages, and what an account has spent and set aside."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Job, Usage
from core.database.tables.jobs import ACTIVE

PERIOD_SECONDS = 30 * 24 * 3600


def spend(session: Session, job: Job, seconds: Mapping[str, float]) -> None:
    """Note what this attempt has spent by now, by stage; not fenced, for the time is spent whoever holds the job."""
    at = now(session)
    for stage, spent in seconds.items():
        session.merge(
            Usage(
                job_id=job.id, attempt=job.attempt, stage=stage, account_id=job.account_id, seconds=spent, created_at=at
            )
        )


def spent_on(session: Session, job_id: str) -> float:
    """Return the seconds that all attempts at a job have spent."""
    return session.scalar(select(func.sum(Usage.seconds)).where(Usage.job_id == job_id)) or 0.0


def spent(session: Session, account_id: str) -> float:
    """Return the account's seconds of the last 30 days."""
    mine = (Usage.account_id == account_id) & (Usage.created_at > now(session) - PERIOD_SECONDS)
    return session.scalar(select(func.sum(Usage.seconds)).where(mine)) or 0.0


def committed(session: Session, account_id: str) -> float:
    """Return the account's seconds of the last 30 days, with all that its active jobs may still spend."""
    active = (Job.account_id == account_id) & Job.state.in_(ACTIVE)
    by_job = select(func.coalesce(func.sum(Usage.seconds), 0.0)).where(Usage.job_id == Job.id).scalar_subquery()
    rows = session.execute(select(Job.reserved_seconds, by_job).where(active)).all()
    return spent(session, account_id) + sum(max(0.0, reserved - used) for reserved, used in rows)
