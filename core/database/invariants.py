"""What must be true of the tables at every moment and no constraint can say."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.database.tables import Adapter, Job, JobEvent, JobState


def broken_invariants(session: Session) -> list[str]:
    """Sentences about jobs that are in a state which can't be; empty where all is well."""
    published = select(Adapter.job_id).where(Adapter.job_id == Job.id).exists()
    last_move = (
        select(JobEvent.to_state)
        .where(JobEvent.job_id == Job.id, JobEvent.to_state.is_not(None))
        .order_by(JobEvent.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    checks = {
        "a succeeded job has no adapter": (Job.state == JobState.SUCCEEDED) & ~published,
        "a job that did not succeed has an adapter": (Job.state != JobState.SUCCEEDED) & published,
        "a job's history ends in another state": func.coalesce(last_move, "") != Job.state,
    }
    return [
        words for words, broken in checks.items() if session.scalar(select(func.count()).select_from(Job).where(broken))
    ]
