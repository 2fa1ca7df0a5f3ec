"""Uploads that no job learns from: who uses which, and erasing those that nobody has used for long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.accounts import audit
from core.database.engine import looking, now
from core.database.tables import Account, File, Job
from core.database.tables.jobs import ACTIVE
from core.erasure import request

BATCH = 50  # of one account a round
DAY = 86_400.0


@dataclass
class Use:
    """How many jobs have learned from a file or will; while one of them is active the file can't be erased."""

    jobs: int = 0
    active: bool = False


@dataclass(frozen=True)
class Uses:
    """The uses of an account's files."""

    of: dict[str, Use] = field(default_factory=dict)

    def __getitem__(self, file_id: str) -> Use:
        return self.of.get(file_id, Use())


def uses(session: Session, account_id: str) -> Uses:
    """Return what the account's jobs use; of erased jobs nothing is known, and a job that publishes learns nothing."""
    mine = (Job.account_id == account_id) & Job.deleted_at.is_(None) & Job.published_from_job.is_(None)
    found = Uses()
    for training, validation, state in session.execute(
        select(Job.training_files, Job.validation_file, Job.state).where(mine)
    ):
        for file_id in {*training, *([validation] if validation else [])}:
            use = found.of.setdefault(file_id, Use())
            use.jobs += 1
            use.active = use.active or state in ACTIVE
    return found


def expire(sessions: sessionmaker[Session], days: float | None) -> int:
    """Begin to erase uploads of more than `days` ago that no job uses; those that their owner gave a time have that."""
    if days is None:
        return 0
    with looking(sessions) as session:
        late = (File.created_at < now(session) - days * DAY) & File.expires_at.is_(None)
        late &= File.job_id.is_(None) & File.deleted_at.is_(None)
        present = select(Account.id).where(Account.erased_at.is_(None))
        owners = session.scalars(select(File.account_id).where(late, File.account_id.in_(present)).distinct()).all()
        found: list[str] = []
        for owner in owners:
            ids = session.scalars(select(File.id).where(late, File.account_id == owner).order_by(File.created_at)).all()
            found += _unused(session, owner, ids)[:BATCH]
    return sum(_expire(sessions, file_id) for file_id in found)


def _unused(session: Session, account_id: str, ids: Sequence[str]) -> list[str]:
    used = uses(session, account_id)
    return [file_id for file_id in ids if not used[file_id].jobs]


def _expire(sessions: sessionmaker[Session], file_id: str) -> bool:
    with sessions.begin() as session:
        owner = select(File.account_id).where(File.id == file_id).scalar_subquery()
        session.execute(select(Account.id).where(Account.id == owner).with_for_update())  # first, as creates have it
        file = session.scalar(select(File).where(File.id == file_id, File.deleted_at.is_(None)).with_for_update())
        if file is None or uses(session, file.account_id)[file_id].jobs:  # by a job of just now
            return False
        request.request(session, file.account_id, "file", file_id)
        audit.record(session, file.account_id, "file.expire", file_id)
    return True
