"""Bytes that are set aside: of an account's quota, and of the disk, for what is on its way and not yet counted."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, SQLColumnExpression, case, delete, func, select, update
from sqlalchemy.orm import Session

from core.database.engine import clock, now
from core.database.tables import Reservation

UPLOAD_SECONDS = 120.0  # an upload whose process was killed gives its bytes back after so long
FOR_EVER = 1e12  # until the end of a job, whenever that is


@dataclass(frozen=True)
class DiskAside:
    """The bytes of the disk that are set aside: by an account, and by all together."""

    own: int
    all: int


def of_quota(session: Session, account_id: str, apart_from: str | None = None) -> int:
    """Return the bytes of an account's quota that are set aside at this moment, apart from one reservation."""
    # a job that has stored more than was set aside for it has nothing left
    left = case((Reservation.bytes > 0, Reservation.bytes), else_=0)
    mine = (Reservation.account_id == account_id) & (Reservation.id != (apart_from or ""))
    return int(session.execute(select(_sum(left)).where(mine, Reservation.until > clock(session))).scalar_one())


def of_disk(session: Session, account_id: str, apart_from: str | None = None) -> DiskAside:
    """Return the bytes of the disk that are set aside at this moment, apart from one reservation.

    Those of jobs set none aside; the index passes over them, however many wait.
    """
    uploads = (Reservation.until > clock(session)) & (Reservation.until < FOR_EVER)
    own = case((Reservation.account_id == account_id, Reservation.disk), else_=0)
    sums = select(_sum(own), _sum(Reservation.disk)).where(uploads, Reservation.id != (apart_from or ""))
    return DiskAside(*map(int, session.execute(sums).one()))


def keep(session: Session, identifier: str, account_id: str, bytes: int, disk: int, seconds: float) -> None:
    """Set so much aside for the next seconds, in place of what this reservation held before."""
    until = now(session) + seconds
    session.merge(Reservation(id=identifier, account_id=account_id, bytes=bytes, disk=disk, until=until))
    session.flush()


def renew(session: Session, identifier: str, seconds: float) -> None:
    """Let what is set aside last for the next seconds; what was given back stays so."""
    later = update(Reservation).where(Reservation.id == identifier).values(until=now(session) + seconds)
    session.execute(later.execution_options(synchronize_session=False))


def for_job(session: Session, job_id: str, account_id: str, bytes: int) -> None:
    """Set bytes aside for all that a new job may store, until it ends."""
    if bytes:
        session.add(Reservation(id=job_id, account_id=account_id, bytes=bytes, until=FOR_EVER))


def used(session: Session, identifier: str, delta: int) -> None:
    """Take off what has been stored of it, and is counted as stored from now on."""
    change = update(Reservation).where(Reservation.id == identifier).values(bytes=Reservation.bytes - delta)
    session.execute(change.execution_options(synchronize_session=False))


def release(session: Session, identifier: str) -> None:
    """Give back what is set aside."""
    gone = delete(Reservation).where(Reservation.id == identifier)
    session.execute(gone.execution_options(synchronize_session=False))


def forget_old(session: Session) -> None:
    """Delete what nobody renews any more; it counts for nothing already."""
    session.execute(delete(Reservation).where(Reservation.until < now(session)))


def _sum(column: SQLColumnExpression[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(column), 0)
