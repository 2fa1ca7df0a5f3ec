"""The room that an upload takes while it comes and is read: of its account's quota, and of the disk.

It is set aside before it is written, so that uploads at once can't take it twice, renewed as long as the upload lives,
and given back when it ends. The disk is never filled: uploads leave twice what workers want free, and one account's
take at most half of what is left.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from core.accounts import quotas, reservations
from core.database.tables import new_id
from core.errors import Unavailable
from core.settings import Settings

DISK_LOCK = 4_160_753  # any number that nothing else locks
FIRST_STEP, MOST_STEP = 8_000_000, 64_000_000  # that are set aside ahead of an upload that does not say how long it is
LEFT_FREE = 2  # times min_free_bytes: where uploads end, workers still take jobs
RETRY_SECONDS = 60.0


@dataclass
class UploadRoom:
    """What is set aside for one upload of an account."""

    sessions: sessionmaker[Session]
    settings: Settings
    account_id: str
    granted: int = 0  # bytes that may come
    released: bool = False  # unless its transaction failed
    identifier: str = field(default_factory=lambda: new_id("room-"))
    _step: int = FIRST_STEP

    def cover(self, count: int, *, written: int = 0, ahead: bool = True) -> None:
        """See to it that `count` bytes may come, of which some are written; where `ahead`, set aside some more.

        Raises QuotaExceeded where the account may not have so many, and Unavailable where the disk has no room.
        """
        with self.sessions.begin() as session:
            account = quotas.locked(session, self.account_id)
            room = quotas.bytes_left(session, account, self.settings, apart_from=self.identifier)
            room.check(count)
            disk = self._disk_left(session)
            _check_disk(count - written, disk)
            granted = count
            if ahead:  # no more than half of what is left then: others upload too
                step = self._step if room.left is None else min(self._step, (room.left - count) // 2)
                granted = max(count, min(count + step, written + disk // 2))
            self._keep(session, granted, granted - written)
        self.granted, self._step = granted, min(2 * self._step, MOST_STEP)

    def for_writing(self, most: int, copies: int) -> int:
        """Return how large a file may be of which so many copies are written now, at most `most`."""
        with self.sessions.begin() as session:
            quotas.locked(session, self.account_id)
            largest = min(most, self._disk_left(session) // copies)
            _check_disk(1, largest)
            self._keep(session, self.granted, copies * largest)
        return largest

    def renew(self) -> None:
        """Say that the upload still lives."""
        with self.sessions.begin() as session:
            reservations.renew(session, self.identifier, reservations.UPLOAD_SECONDS)

    def release(self, session: Session) -> None:
        """Give everything back; what has become of the upload is counted in this transaction."""
        reservations.release(session, self.identifier)
        self.released = True

    def _keep(self, session: Session, granted: int, disk: int) -> None:
        reservations.keep(session, self.identifier, self.account_id, granted, disk, reservations.UPLOAD_SECONDS)

    def _disk_left(self, session: Session) -> int:
        """Return the bytes of the disk that this account's uploads may still claim; all others wait until then."""
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": DISK_LOCK})
        aside = reservations.of_disk(session, self.account_id, self.identifier)
        free = shutil.disk_usage(self.settings.data).free - LEFT_FREE * self.settings.min_free_bytes
        return (free - aside.all - aside.own) // 2


def _check_disk(wanted: int, left: int) -> None:
    if wanted > left:
        raise Unavailable(
            "The service's disk has no room for this now; try again later.", code="disk_full", retry_after=RETRY_SECONDS
        )
