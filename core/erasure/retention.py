"""Erasing what nobody needs any more: leavings of ended jobs, files and jobs whose time is over.

What is to go is looked for without a lock, a few things an account, so that nobody's many are in the way of another's
few; each goes in a transaction of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, func, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute, Session, sessionmaker

from core.accounts import audit, stored_bytes
from core.database import file_remains
from core.database.engine import looking, now
from core.database.tables import Account, Artifact, Checkpoint, Erasure, File, Job
from core.database.tables.jobs import ACTIVE, TERMINAL
from core.erasure import request
from core.errors import AlbatrossError
from core.jobs.reports import SAVE
from core.storage.interface import Storage
from core.storage.keys import job_prefix

log = logging.getLogger(__name__)
BATCH = 50  # things a round
TIDIED, TIDY_SECONDS = 20, 2.0  # jobs a round, and how long it may take
DAY = 86_400.0
REWRITTEN_SECONDS = DAY  # between two times at which SQLite's file is written anew
MAX_REWRITTEN_BYTES = 200_000_000  # which takes about two seconds; a larger file is its operator's


def expire_files(sessions: sessionmaker[Session]) -> int:
    """Begin to erase uploads that their owner wanted kept only so long, unless an active job needs them."""
    with looking(sessions) as session:
        at = now(session)
        late = (File.expires_at < at) & File.deleted_at.is_(None)
        owners = _owners(session, File, File.expires_at, late)
        used = {owner: _needed(session, owner) for owner in owners}
        found = [_late_files(session, late & (File.account_id == owner), used[owner]) for owner in owners]
    return sum(_expire_file(sessions, file_id) for file_id in _in_turns(found))


def _late_files(session: Session, mine: ColumnElement[bool], used: set[str]) -> list[str]:
    """List files of an account, those that are in use left out: they must not use up what is looked at."""
    oldest = select(File.id).where(mine).order_by(File.expires_at, File.id).limit(BATCH + len(used))
    return [file_id for file_id in session.scalars(oldest) if file_id not in used][:BATCH]


def _expire_file(sessions: sessionmaker[Session], file_id: str) -> bool:
    with sessions.begin() as session:
        owner = select(File.account_id).where(File.id == file_id).scalar_subquery()
        session.execute(select(Account.id).where(Account.id == owner).with_for_update())  # first, as creates have it
        mine = select(File).where(File.id == file_id, File.deleted_at.is_(None)).with_for_update()
        file = session.scalar(mine)
        if file is None or file_id in _needed(session, file.account_id):  # by a job of just now
            return False
        request.request(session, file.account_id, "file", file_id)
        audit.record(session, file.account_id, "file.expire", file_id)
    return True


def expire_jobs(sessions: sessionmaker[Session], days: float | None) -> int:
    """Begin to erase jobs that ended more than `days` ago."""
    if days is None:
        return 0
    with looking(sessions) as session:
        late = (Job.finished_at < now(session) - days * DAY) & Job.deleted_at.is_(None)
        owners = _owners(session, Job, Job.finished_at, late)
        oldest = select(Job.id).where(late).order_by(Job.finished_at, Job.id).limit(BATCH)
        found = [session.scalars(oldest.where(Job.account_id == owner)).all() for owner in owners[:BATCH]]
    return sum(_expire_job(sessions, job_id) for job_id in _in_turns(found))


def _expire_job(sessions: sessionmaker[Session], job_id: str) -> bool:
    with sessions.begin() as session:
        job = session.scalar(select(Job).where(Job.id == job_id, Job.deleted_at.is_(None)))
        if job is None:
            return False
        request.request(session, job.account_id, "job", job_id)
        audit.record(session, job.account_id, "job.expire", job_id)
    return True


def _owners(
    session: Session, table: type[File | Job], when: InstrumentedAttribute[float | None], late: ColumnElement[bool]
) -> Sequence[str]:
    """List the accounts that have something late, the one first that has the oldest; erased ones go as a whole."""
    owner = table.account_id.concat("")  # by its name SQLite would read all rows, in the order of their accounts
    grouped = select(owner, func.min(when).label("oldest")).where(late).group_by(owner).subquery()
    owners = select(Account.id).join(grouped, grouped.c[0] == Account.id).where(Account.erased_at.is_(None))
    return session.scalars(owners.order_by(grouped.c.oldest, Account.id)).all()


def _in_turns(found: Sequence[Sequence[str]]) -> list[str]:
    """Take what fits into a round: the first of each account, then the second of each."""
    longest = max(map(len, found), default=0)
    return [ids[turn] for turn in range(longest) for ids in found if turn < len(ids)][:BATCH]


def _needed(session: Session, account_id: str) -> set[str]:
    """Return the files that the account's active jobs need; one that publishes a kept step reads none."""
    active = select(Job.training_files, Job.validation_file).where(Job.published_from_job.is_(None))
    active = active.where(Job.account_id == account_id, Job.state.in_(ACTIVE))
    rows = session.execute(active)
    return {file_id for training, validation in rows for file_id in (*training, validation) if file_id}


@dataclass
class Tidier:
    """Erases saves, and objects of dead attempts, of jobs that ended a while ago.

    It goes through them in their order and begins anew at the end: a job whose objects can't be erased is passed over.
    """

    sessions: sessionmaker[Session]
    storage: Storage
    after_seconds: float
    _last: tuple[float, str] = (0.0, "")

    def round(self) -> int:
        """Tidy up after some jobs; returns how many objects were erased."""
        jobs, until, objects = self._ended(), time.monotonic() + TIDY_SECONDS, 0
        for job in jobs:
            if time.monotonic() >= until:
                break
            self._last = (job.finished_at or 0.0, job.id)
            try:
                objects += self._tidy(job)
            except (AlbatrossError, SQLAlchemyError, OSError) as error:
                log.warning("a job's leavings stay for now: %s", type(error).__name__, extra={"job": job.id})
        if len(jobs) < TIDIED:
            self._last = (0.0, "")
        return objects

    def _ended(self) -> Sequence[Job]:
        with looking(self.sessions) as session:
            before = now(session) - self.after_seconds
            ended = select(Job).where(
                Job.finished_at < before,
                tuple_(Job.finished_at, Job.id) > tuple_(*self._last),
                Job.state.in_(TERMINAL),
                Job.tidied_at.is_(None),
                Job.deleted_at.is_(None),
            )
            return session.scalars(ended.order_by(Job.finished_at, Job.id).limit(TIDIED)).all()

    def _tidy(self, job: Job) -> int:
        with self.sessions.begin() as session:
            with stored_bytes.counting(session, job.id):
                for save in session.scalars(select(Artifact).where(Artifact.job_id == job.id, Artifact.kind == SAVE)):
                    session.delete(save)
            needed = {
                *session.scalars(select(Artifact.storage_key).where(Artifact.job_id == job.id)),
                *session.scalars(select(Checkpoint.storage_key).where(Checkpoint.job_id == job.id)),
            }
        useless = [key for key in self.storage.keys(job_prefix(job.account_id, job.id)) if key not in needed]
        for key in useless:
            self.storage.delete_prefix(key)
        self.storage.sweep_abandoned(job_prefix(job.account_id, job.id))
        with self.sessions.begin() as session:  # only now: a store that was away is asked again
            row = session.get(Job, job.id)
            if row is not None:
                row.tidied_at = now(session)
        return len(useless)


def clear_pages(sessions: sessionmaker[Session]) -> bool:
    """Write SQLite's file anew where something was erased since that was done, at most once a day."""
    with looking(sessions) as session:
        at, last = now(session), session.scalar(select(func.max(Erasure.done_at)))
        engine = session.get_bind()
    assert isinstance(engine, Engine)
    if engine.dialect.name != "sqlite" or last is None:
        return False
    before = file_remains.written_anew_at(engine)
    if last < before or at - before < REWRITTEN_SECONDS or file_remains.file_bytes(engine) > MAX_REWRITTEN_BYTES:
        return False
    return file_remains.write_anew(engine)
