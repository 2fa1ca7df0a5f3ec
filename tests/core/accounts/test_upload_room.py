"""Setting room aside for an upload costs little, whatever others have set aside and however near its quota it comes."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.accounts import reservations
from core.accounts.upload_room import UploadRoom
from core.database.engine import now
from core.database.tables import Account, Reservation
from core.errors import QuotaExceeded
from core.settings import Settings
from tests.core.ledger import Sessions

PIECE = 65_536
FEW, MANY = 10, 2_000


@pytest.fixture
def room(database: Sessions, tmp_path: Path) -> UploadRoom:
    accounts(database, "acct-1")
    return UploadRoom(database, Settings(data=tmp_path, account_bytes=100_000_000, min_free_bytes=0), "acct-1")


def accounts(sessions: Sessions, *names: str) -> None:
    with sessions.begin() as session:
        session.add_all(Account(id=name, name=name, created_at=now(session)) for name in names)


def test_an_upload_in_pieces_asks_seldom_also_near_the_end_of_its_quota(room: UploadRoom) -> None:
    pieces, asked = 100_000_000 // PIECE, 0
    for received in range(PIECE, pieces * PIECE + 1, PIECE):
        if received > room.granted:
            room.cover(received, written=received - PIECE)
            asked += 1
    assert asked < 40 < pieces
    with pytest.raises(QuotaExceeded):
        room.cover(100_000_001, written=received)


def test_what_is_renewed_and_given_back_at_once_holds_up_nobody(database: Sessions, room: UploadRoom) -> None:
    room.cover(10)
    failed: list[BaseException] = []

    def renew() -> None:
        try:
            room.renew()
        except BaseException as error:
            failed.append(error)

    with database.begin() as session:
        session.execute(select(Account).where(Account.id == "acct-1").with_for_update())
        renewing = threading.Thread(target=renew)
        renewing.start()
        renewing.join(0.5)  # by now it waits for the database, or is done
        room.release(session)
    renewing.join()
    assert failed == []
    with database() as session:
        assert session.scalars(select(Reservation)).all() == []


def steps(session: Session) -> int:
    """How many instructions SQLite takes to say what is set aside."""
    counted = [0]

    def count() -> int:
        counted[0] += 1
        return 0

    raw = session.connection().connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.set_progress_handler(count, 1)
    reservations.of_quota(session, "acct-1")
    reservations.of_disk(session, "acct-1")
    raw.set_progress_handler(None, 0)
    return counted[0]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_the_waiting_jobs_of_others_have_set_aside_is_not_read(database: Sessions) -> None:
    accounts(database, "acct-1", "acct-2")
    taken = []
    for first, last in ((0, FEW), (FEW, MANY)):
        with database.begin() as session:
            for number in range(first, last):
                reservations.for_job(session, f"ftjob-{number}", "acct-2", 1000)
            session.flush()
            taken.append(steps(session))
    assert taken[0] == taken[1]
