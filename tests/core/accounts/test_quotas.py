"""No account gets more than its share, however many calls come at once, and what is set aside counts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from core.accounts import quotas, stored_bytes, usage
from core.database.engine import now
from core.database.tables import Account, Artifact, File, Job, Reservation
from core.erasure import request
from core.erasure.eraser import Eraser
from core.errors import AlbatrossError, QuotaExceeded, RateLimited, Unauthenticated
from core.jobs import control, creation, reports
from core.jobs.leases import Claim
from core.settings import Settings
from core.storage.factory import storage
from tests.core.ledger import Sessions, claim, finish, get, running

SETTINGS = Settings(jobs_per_minute=5, account_gpu_seconds=100, job_gpu_seconds=30, account_bytes=1000, job_bytes=0)


def create(sessions: Sessions, **limits: object) -> str:
    job = Job(account_id="acct-1", backbone="tiny", request={}, training_files=[], seed=1, queue="gpu")
    with sessions.begin() as session:
        return creation.create(session, job, SETTINGS.model_copy(update=limits)).id


def account(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.add(Account(id="acct-1", name="acct-1", created_at=now(session)))


def test_gpu_seconds_are_set_aside_for_active_jobs_and_given_back_when_they_end(database: Sessions) -> None:
    account(database)
    first, _, _ = (create(database) for _ in range(3))
    with pytest.raises(QuotaExceeded, match="90 are spent or set aside"):
        create(database)
    with database.begin() as session:
        usage.spend(session, session.get_one(Job, first), {"train": 10.0, "score": 2.0})
        assert usage.committed(session, "acct-1") == 90  # what is spent is not set aside any more
        session.execute(update(Job).where(Job.id == first).values(state="CANCELLED", finished_at=1.0))
        assert usage.committed(session, "acct-1") == 72
    assert get(database, create(database, account_gpu_seconds=102)).reserved_seconds == 30


def test_an_attempt_writes_its_seconds_once_however_often_it_tells(database: Sessions) -> None:
    job_id = running(database).job_id
    for seconds in (1.0, 2.5):
        with database.begin() as session:
            usage.spend(session, session.get_one(Job, job_id), {"train": seconds})
    with database() as session:
        assert usage.spent_on(session, job_id) == 2.5


def test_what_was_spent_long_ago_counts_no_more(database: Sessions) -> None:
    job_id = running(database).job_id
    with database.begin() as session:
        usage.spend(session, session.get_one(Job, job_id), {"train": 50.0})
        session.execute(update(usage.Usage).values(created_at=usage.Usage.created_at - usage.PERIOD_SECONDS - 1))
        session.execute(update(Job).values(reserved_seconds=0.0))
        assert usage.committed(session, "acct-1") == 0


def test_more_jobs_within_a_minute_than_allowed_are_told_when_the_next_is_welcome(database: Sessions) -> None:
    account(database)
    for _ in range(5):
        create(database, account_gpu_seconds=None)
    with pytest.raises(RateLimited, match="5 jobs") as refused:
        create(database, account_gpu_seconds=None)
    assert 50 < refused.value.retry_after <= 61
    with database.begin() as session:
        row = quotas.locked(session, "acct-1")
        row.job_times = {str(int(second) - 61): count for second, count in row.job_times.items()}
    create(database, account_gpu_seconds=None)


def test_a_hundred_calls_below_the_last_place_let_one_in(database: Sessions) -> None:
    account(database)
    create(database), create(database)

    def call(_: int) -> str | AlbatrossError:
        try:
            return create(database, jobs_per_minute=1000)
        except QuotaExceeded as error:
            return error

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(call, range(100)))
    assert sum(isinstance(answer, str) for answer in answers) == 1
    with database() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 3


def test_bytes_are_counted_with_what_jobs_have_made_and_an_account_may_have_its_own_limit(database: Sessions) -> None:
    account(database)
    with database.begin() as session:
        session.add(
            File(
                id="file-1",
                account_id="acct-1",
                filename="x",
                purpose="fine-tune",
                bytes=900,
                sha256="",
                kind=None,
                storage_key="k",
                status="processed",
                created_at=1.0,
            )
        )
        stored_bytes.add(session, "acct-1", 900)
    with database.begin() as session:
        quotas.bytes_left(session, quotas.locked(session, "acct-1"), SETTINGS).check(100)
        with pytest.raises(QuotaExceeded, match="900 of 1,000"):
            quotas.bytes_left(session, quotas.locked(session, "acct-1"), SETTINGS).check(101)
        session.execute(update(Account).values(bytes_limit=2000))
    with database.begin() as session:
        quotas.bytes_left(session, quotas.locked(session, "acct-1"), SETTINGS).check(1100)


def test_an_erased_account_gets_nothing_in(database: Sessions) -> None:
    account(database)
    with database.begin() as session:
        session.execute(update(Account).values(erased_at=1.0))
    with pytest.raises(Unauthenticated):
        create(database)


def test_a_job_that_is_deleted_still_counts_among_those_of_the_minute(database: Sessions, tmp_path: Path) -> None:
    account(database)
    settings = Settings(data=tmp_path)
    eraser = Eraser(database, storage(settings), settings.keyring, tmp_path)
    for _ in range(5):
        job_id = create(database, account_gpu_seconds=None)
        with database.begin() as session:
            erasure = request.request(session, "acct-1", "job", job_id)
        until_done(eraser, erasure.id)
    with database() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0
    with pytest.raises(RateLimited, match="5 jobs"):
        create(database, account_gpu_seconds=None)


def test_what_a_deleted_job_has_spent_stays_spent(database: Sessions, tmp_path: Path) -> None:
    account(database)
    settings = Settings(data=tmp_path)
    eraser = Eraser(database, storage(settings), settings.keyring, tmp_path)
    job_id = create(database)
    with database.begin() as session:
        usage.spend(session, session.get_one(Job, job_id), {"train": 25.0})
        erasure = request.request(session, "acct-1", "job", job_id)
    until_done(eraser, erasure.id)
    with database() as session:
        assert usage.committed(session, "acct-1") == 25


def test_a_job_is_not_let_in_over_the_bytes_of_its_account(database: Sessions) -> None:
    account(database)
    free = {"account_gpu_seconds": None, "job_bytes": 400}
    first = create(database, **free)
    create(database, **free)
    with pytest.raises(QuotaExceeded, match="may store 400 bytes; 0 of 1,000 are in use, and 800 are set aside"):
        create(database, **free)
    with database.begin() as session:
        control.cancel(session, session.get_one(Job, first))
    create(database, **free)
    with database() as session:
        assert session.scalar(select(func.sum(Reservation.bytes))) == 800


def test_what_a_job_has_stored_is_not_set_aside_any_more_and_more_than_was_lets_nothing_else_in(
    database: Sessions,
) -> None:
    account(database)
    free = {"account_gpu_seconds": None, "job_bytes": 400}
    create(database, **free)
    job = claim(database)
    assert job is not None
    for size, left in ((300, 600), (300, 600), (1_200, -200)):
        with database.begin() as session:
            stored = Artifact(name="a", kind="stage", storage_key="k", sha256="0", bytes=size)
            assert reports.add_artifacts(session, Claim.of(job), [stored])
        with database.begin() as session:
            room = quotas.bytes_left(session, quotas.locked(session, "acct-1"), SETTINGS)
            assert (room.left, room.held) == (left, size)
    with pytest.raises(QuotaExceeded, match="Delete files, models or jobs"):
        create(database, **free)
    with database.begin() as session:
        assert finish(session, Claim.of(job))  # it runs to its end
        assert session.scalar(select(func.count()).select_from(Reservation)) == 0


def until_done(eraser: Eraser, erasure_id: str) -> None:
    deadline = time.monotonic() + 30
    while not eraser.advance(erasure_id):
        assert time.monotonic() < deadline
