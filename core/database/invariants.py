"""What must be true of the tables at every moment and no constraint can say."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.database.tables import Account, Adapter, Artifact, File, Job, JobEvent, JobState
from core.database.tables.jobs import BORROWED

MISCOUNTED = "an account's counted bytes are not those of its rows"


def broken_invariants(session: Session) -> list[str]:
    """Sentences about jobs and accounts that are in a state which can't be; empty where all is well."""
    return [*broken_jobs(session), *([MISCOUNTED] if miscounted(session) else [])]


def broken_jobs(session: Session) -> list[str]:
    """Sentences about jobs alone, which cost little to look for."""
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


def miscounted(session: Session) -> list[str]:
    """Return the accounts whose counted bytes are not those of their rows; of one that is erased nothing is counted.

    One statement, which sees all rows at one moment and reads every file and artifact there is.
    """
    uploads = select(File.account_id, File.bytes).where(File.job_id.is_(None), File.deleted_at.is_(None))
    made = select(Job.account_id, Artifact.bytes).join(Artifact, Artifact.job_id == Job.id)
    made = made.where(Artifact.kind != BORROWED)
    each = uploads.union_all(made.where(Job.deleted_at.is_(None))).subquery()
    held = select(each.c.account_id, func.sum(each.c.bytes).label("bytes")).group_by(each.c.account_id).subquery()
    wrong = Account.stored_bytes != func.coalesce(held.c.bytes, 0)
    accounts = select(Account.id).outerjoin(held, held.c.account_id == Account.id)
    return list(session.scalars(accounts.where(Account.erased_at.is_(None), wrong)))
