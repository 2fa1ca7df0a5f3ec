"""One key makes one job, and no account gets more jobs in than it may have, however many calls come at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from core.database.engine import now
from core.database.tables import Account, Idempotency, Job
from core.errors import Conflict, RateLimited
from core.jobs import creation
from core.settings import Settings
from tests.core.ledger import Sessions, cancel, get, moves

CALLS = 20


def account(sessions: Sessions, name: str = "acct-1") -> None:
    with sessions.begin() as session:
        session.add(Account(id=name, name=name, created_at=now(session)))


def create(sessions: Sessions, key: str | None = None, sha256: str = "a", name: str = "acct-1", limit: int = 50) -> str:
    job = Job(account_id=name, backbone="tiny", request={}, training_files=[], seed=1, queue="gpu")
    with sessions.begin() as session:
        settings = Settings(active_job_limit=limit)
        return creation.create(session, job, settings, idempotency_key=key, request_sha256=sha256).id


def at_once(call: Callable[[], str]) -> list[str | Exception]:
    def answer(_: int) -> str | Exception:
        try:
            return call()
        except RateLimited as error:
            return error

    with ThreadPoolExecutor(CALLS) as pool:
        return list(pool.map(answer, range(CALLS)))


def test_a_new_job_waits_and_has_a_history(database: Sessions) -> None:
    account(database)
    job_id = create(database)
    assert get(database, job_id).state == "QUEUED"
    assert moves(database, job_id) == [(None, "QUEUED")]


def test_twenty_calls_with_one_key_make_one_job(database: Sessions) -> None:
    account(database)
    answers = at_once(lambda: create(database, "key"))
    assert len(set(answers)) == 1
    with database() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1


def test_twenty_calls_at_the_limit_let_in_as_many_as_fit(database: Sessions) -> None:
    account(database)
    answers = at_once(lambda: create(database, limit=3))
    assert sum(isinstance(answer, str) for answer in answers) == 3
    assert all(answer.retry_after > 0 for answer in answers if isinstance(answer, RateLimited))


def test_a_job_that_ends_makes_room(database: Sessions) -> None:
    account(database)
    first = create(database, limit=1)
    with pytest.raises(RateLimited):
        create(database, limit=1)
    cancel(database, first)
    assert create(database, limit=1) != first


def test_a_repeated_call_is_answered_even_at_the_limit(database: Sessions) -> None:
    account(database)
    first = create(database, "key", limit=1)
    assert create(database, "key", limit=1) == first


def test_a_refused_call_leaves_its_key_free(database: Sessions) -> None:
    account(database)
    first = create(database, limit=1)
    with pytest.raises(RateLimited):
        create(database, "key", limit=1)
    cancel(database, first)
    assert create(database, "key", "another request", limit=1) != first


def test_a_key_for_another_request_is_a_conflict_and_makes_nothing(database: Sessions) -> None:
    account(database)
    create(database, "key", "a")
    with pytest.raises(Conflict) as refusal:
        create(database, "key", "b")
    assert refusal.value.code == "idempotency_mismatch"
    with database() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1


def test_accounts_do_not_share_keys(database: Sessions) -> None:
    account(database, "acct-1")
    account(database, "acct-2")
    assert create(database, "key", name="acct-1") != create(database, "key", name="acct-2")


def test_a_key_is_forgotten_after_a_day(database: Sessions) -> None:
    account(database)
    first = create(database, "key", "a")
    with database.begin() as session:
        session.execute(update(Idempotency).values(created_at=now(session) - 24 * 3600 - 1))
    assert create(database, "key", "b") != first


def test_a_key_whose_job_was_deleted_makes_a_new_one(database: Sessions) -> None:
    account(database)
    first = create(database, "key", "a")
    with database.begin() as session:
        session.execute(update(Job).where(Job.id == first).values(deleted_at=now(session)))
    assert create(database, "key", "a") != first
