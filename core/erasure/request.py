"""Ask for an erasure: the file, job, model or account is hidden at once, and what works on it is stopped."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from core.accounts import stored_bytes
from core.database.engine import now
from core.database.tables import Account, Adapter, Artifact, Erasure, File, Job
from core.database.tables.jobs import ACTIVE
from core.jobs import control


def request(session: Session, account_id: str, kind: str, target: str) -> Erasure:
    """Hide the thing from now on, stop what works on it, and write down that it has to go."""
    at = now(session)
    erasure = Erasure(account_id=account_id, kind=kind, target=target, created_at=at, requested_at=at)
    if kind == "file":
        erasure.created_at = _hide_file(session, target, at)
    elif kind == "model":
        adapter = session.get_one(Adapter, target)
        adapter.deleted_at, erasure.created_at = at, adapter.created_at
        _hide_files(session, at, File.job_id == adapter.job_id)
    elif kind == "job":
        erasure.created_at = _hide_job(session, session.get_one(Job, target), at)
    else:  # all that it has is out of reach with its keys; the eraser ends its jobs, a few at a time
        session.get_one(Account, target).erased_at = at
    session.add(erasure)
    session.flush()
    return erasure


def end_jobs(session: Session, account_id: str, limit: int) -> None:
    """Hide some of the active jobs of an erased account, and stop what works on them."""
    active = select(Job).where(Job.account_id == account_id, Job.state.in_(ACTIVE), Job.deleted_at.is_(None))
    at = now(session)
    for job in session.scalars(active.limit(limit)):
        _hide_job(session, job, at)


def _hide_file(session: Session, file_id: str, at: float) -> float:
    job_id = session.get_one(File, file_id).job_id
    if job_id is not None:
        _take_from_job(session, job_id, file_id)
    file = session.get_one(File, file_id, with_for_update=True, populate_existing=True)
    if file.deleted_at is None:
        file.deleted_at = at
        if job_id is None:
            stored_bytes.add(session, file.account_id, -file.bytes)
    return file.created_at


def _take_from_job(session: Session, job_id: str, file_id: str) -> None:
    """Let the job and its model no longer list one of their files, whose bytes are given back."""
    with stored_bytes.counting(session, job_id):
        mine = (Artifact.job_id == job_id) & (Artifact.file_id == file_id)
        session.execute(delete(Artifact).where(mine).execution_options(synchronize_session=False))


def _hide_job(session: Session, job: Job, at: float) -> float:
    session.refresh(job, with_for_update=True)
    if job.deleted_at is not None:  # by a call at the same time
        return job.created_at
    if job.state in ACTIVE:
        control.cancel(session, job)
    job.deleted_at = at
    stored_bytes.add(session, job.account_id, -stored_bytes.of_job(session, job.id))
    _hide_files(session, at, File.job_id == job.id)
    return job.created_at


def _hide_files(session: Session, at: float, which: ColumnElement[bool]) -> None:
    for file in session.scalars(select(File).where(which, File.deleted_at.is_(None))):
        file.deleted_at = at
