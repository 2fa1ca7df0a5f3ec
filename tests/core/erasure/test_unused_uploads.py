"""Uploads that no job uses: they are told from those that one does, and go where the operator wants it."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from core.database.engine import now
from core.database.tables import Audit, Erasure, File, Job
from core.erasure import unused_uploads
from core.erasure.unused_uploads import DAY, Use, uses
from tests.core.erasure.test_turns import upload_row
from tests.core.ledger import Sessions, cancel, queued


def arrived(sessions: Sessions, account: str, name: str, days_ago: float, expires_at: float | None = None) -> str:
    upload_row(sessions, account, name)
    with sessions.begin() as session:
        file = session.get_one(File, name)
        file.created_at, file.expires_at = now(session) - days_ago * DAY, expires_at
    return name


def gone(sessions: Sessions) -> list[str]:
    with sessions() as session:
        erased = session.scalars(select(File.id).where(File.deleted_at.is_not(None)).order_by(File.id)).all()
        assert sorted(session.scalars(select(Erasure.target))) == list(erased)
        assert sorted(session.scalars(select(Audit.target).where(Audit.action == "file.expire"))) == list(erased)
        return list(erased)


def test_what_no_job_uses_goes_after_its_time_and_nothing_else(database: Sessions) -> None:
    for name, days in (("file-old", 8.0), ("file-new", 6.0), ("file-learned", 8.0), ("file-validated", 8.0)):
        arrived(database, "acct-1", name, days)
    arrived(database, "acct-2", "file-others", 9.0)
    arrived(database, "acct-2", "file-timed", 9.0, expires_at=1e12)  # as its owner said
    ended = queued(database, "acct-1", training_files=["file-learned"], validation_file="file-validated")
    cancel(database, ended)
    assert unused_uploads.expire(database, None) == 0
    assert gone(database) == []
    assert unused_uploads.expire(database, 7.0) == 2
    assert gone(database) == ["file-old", "file-others"]
    assert unused_uploads.expire(database, 7.0) == 0


@pytest.mark.slow
def test_one_round_takes_some_of_each_account(database: Sessions) -> None:
    for number in range(unused_uploads.BATCH + 2):
        arrived(database, "acct-1", f"file-{number}", 8.0)
    arrived(database, "acct-2", "file-other", 8.0)
    assert unused_uploads.expire(database, 7.0) == unused_uploads.BATCH + 1
    assert unused_uploads.expire(database, 7.0) == 2


def test_a_file_says_how_many_jobs_use_it_and_whether_one_is_active(database: Sessions) -> None:
    arrived(database, "acct-1", "file-a", 0.0)
    arrived(database, "acct-1", "file-b", 0.0)
    first = queued(database, "acct-1", training_files=["file-a", "file-b"])
    queued(database, "acct-1", training_files=["file-b"], validation_file="file-b")
    cancel(database, first)
    with database() as session:
        found = uses(session, "acct-1")
        assert (found["file-a"], found["file-b"]) == (Use(1, active=False), Use(2, active=True))
        assert (found["file-c"], uses(session, "acct-2")["file-a"]) == (Use(), Use())
        session.get_one(Job, first).deleted_at = 1.0
        session.flush()
        assert uses(session, "acct-1")["file-a"] == Use()
