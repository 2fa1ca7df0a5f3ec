"""Erasing what nobody needs any more: leavings of ended jobs, files and jobs whose time is over."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.accounts import audit, stored_bytes
from core.database.engine import now
from core.database.tables import Artifact, Checkpoint, File, Job
from core.database.tables.jobs import ACTIVE, TERMINAL
from core.erasure import request
from core.jobs.reports import SAVE
from core.settings import Settings
from core.storage.interface import Storage
from core.storage.keys import job_prefix

BATCH = 20  # things a round
DAY = 86_400.0


def expire_files(session: Session) -> int:
    """Begin to erase uploads that their owner wanted kept only so long, unless an active job needs them."""
    late = select(File).where(File.expires_at < now(session), File.deleted_at.is_(None)).limit(BATCH)
    files = [file for file in session.scalars(late) if not _needed(session, file)]
    for file in files:
        request.request(session, file.account_id, "file", file.id)
        audit.record(session, file.account_id, "file.expire", file.id)
    return len(files)


def expire_jobs(session: Session, days: float | None) -> int:
    """Begin to erase jobs that ended more than `days` ago."""
    if days is None:
        return 0
    before = now(session) - days * DAY
    late = select(Job).where(Job.finished_at < before, Job.deleted_at.is_(None)).limit(BATCH)
    jobs = session.scalars(late).all()
    for job in jobs:
        request.request(session, job.account_id, "job", job.id)
        audit.record(session, job.account_id, "job.expire", job.id)
    return len(jobs)


def tidy(sessions: sessionmaker[Session], storage: Storage, settings: Settings) -> int:
    """Erase saves, and objects of dead attempts, of jobs that ended a while ago; returns how many objects."""
    with sessions() as session:
        before = now(session) - settings.tidy_seconds
        ended = select(Job).where(
            Job.state.in_(TERMINAL), Job.finished_at < before, Job.tidied_at.is_(None), Job.deleted_at.is_(None)
        )
        jobs = session.scalars(ended.limit(BATCH)).all()
    return sum(_tidy(sessions, storage, job) for job in jobs)


def _tidy(sessions: sessionmaker[Session], storage: Storage, job: Job) -> int:
    with sessions.begin() as session:
        with stored_bytes.counting(session, job.id):
            for save in session.scalars(select(Artifact).where(Artifact.job_id == job.id, Artifact.kind == SAVE)):
                session.delete(save)
        needed = {
            *session.scalars(select(Artifact.storage_key).where(Artifact.job_id == job.id)),
            *session.scalars(select(Checkpoint.storage_key).where(Checkpoint.job_id == job.id)),
        }
    useless = [key for key in storage.keys(job_prefix(job.account_id, job.id)) if key not in needed]
    for key in useless:
        storage.delete_prefix(key)
    with sessions.begin() as session:  # only now: a store that was away is asked again
        row = session.get(Job, job.id)
        if row is not None:
            row.tidied_at = now(session)
    return len(useless)


def _needed(session: Session, file: File) -> bool:
    active = session.scalars(select(Job).where(Job.account_id == file.account_id, Job.state.in_(ACTIVE)))
    return any(file.id in (*job.training_files, job.validation_file) for job in active)
