"""The bytes that an account stores, counted in the transaction that adds or takes away what is counted.

Counted are uploads until they are deleted, and all that jobs have stored until the job is deleted: each is taken off at
the moment at which it is hidden. What is hidden already, and what an erased account has, is counted no more.
Locks are taken in this order: job, account, file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.accounts import reservations
from core.database.tables import Account, Artifact, File, Job
from core.database.tables.jobs import BORROWED


def add(session: Session, account_id: str, delta: int) -> None:
    """Count so many bytes more, or fewer; the account's row is locked from now on until the transaction ends."""
    if delta:
        change = update(Account).where(Account.id == account_id).values(stored_bytes=Account.stored_bytes + delta)
        session.execute(change.execution_options(synchronize_session=False))


def of_job(session: Session, job_id: str) -> int:
    """Return the bytes of all that a job has stored; what it has borrowed of another is counted there."""
    mine = (Artifact.job_id == job_id) & (Artifact.kind != BORROWED)
    return int(session.scalar(select(func.sum(Artifact.bytes)).where(mine)) or 0)


@contextmanager
def counting(session: Session, job_id: str) -> Iterator[None]:
    """Count what the block changes of a job's artifacts; the job is locked, and nothing is counted of a hidden one."""
    found = session.execute(
        select(Job.account_id, Job.deleted_at).where(Job.id == job_id).with_for_update()
    ).one_or_none()
    before = of_job(session, job_id)
    yield
    session.flush()
    if found is not None and found.deleted_at is None and (delta := of_job(session, job_id) - before):
        add(session, found.account_id, delta)
        reservations.used(session, job_id, delta)


def recount(session: Session, account_id: str) -> None:
    """Count an account's rows anew."""
    session.execute(select(Account.id).where(Account.id == account_id).with_for_update())  # whoever counts comes later
    mine = (File.account_id == account_id) & File.job_id.is_(None) & File.deleted_at.is_(None)
    shown = (Job.account_id == account_id) & Job.deleted_at.is_(None) & (Artifact.kind != BORROWED)
    sums = (
        select(func.sum(File.bytes)).where(mine),
        select(func.sum(Artifact.bytes)).join(Job, Job.id == Artifact.job_id).where(shown),
    )
    count = sum(int(session.scalar(one) or 0) for one in sums)
    session.execute(update(Account).where(Account.id == account_id).values(stored_bytes=count))
