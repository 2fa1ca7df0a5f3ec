"""One key makes one job, and so does a call that a client sends again by itself, however many come at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from core.accounts import quotas
from core.database.engine import now
from core.database.tables import Account, Idempotency, Job
from core.errors import Conflict, RateLimited
from core.jobs import creation
from core.jobs.idempotency import RepeatedCall
from core.settings import Settings
from tests.core.ledger import Sessions, cancel

CALLS = 20


def account(sessions: Sessions, name: str = "acct-1") -> None:
    with sessions.begin() as session:
        session.add(Account(id=name, name=name, created_at=now(session)))


def create(
    sessions: Sessions,
    key: str | None = None,
    suffix: str = "a",
    name: str = "acct-1",
    limit: int = 50,
    retries: str | None = None,
) -> str:
    """Create a job as the API does; returns its id, or that of the first one where the call is a repeated one."""
    request = {"suffix": suffix}
    call = RepeatedCall.of(key, retries, request)
    with sessions.begin() as session:
        owner = quotas.locked(session, name)
        job = call.first_job(session, owner.id)
        if job is None:
            job = Job(account_id=name, backbone="tiny", request=request, training_files=[], seed=1, queue="gpu")
            creation.create(session, job, Settings(active_job_limit=limit), account=owner)
            call.remember(session, job)
        return job.id


def jobs(sessions: Sessions) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def test_twenty_calls_with_one_key_make_one_job(database: Sessions) -> None:
    account(database)
    with ThreadPoolExecutor(CALLS) as pool:
        answers = list(pool.map(lambda _: create(database, "key"), range(CALLS)))
    assert len(set(answers)) == 1
    assert jobs(database) == 1


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
    assert jobs(database) == 1


def test_accounts_do_not_share_keys(database: Sessions) -> None:
    account(database, "acct-1")
    account(database, "acct-2")
    assert create(database, "key", name="acct-1") != create(database, "key", name="acct-2")


def test_a_key_is_forgotten_after_a_day(database: Sessions) -> None:
    account(database)
    first = create(database, "key", "a")
    with database.begin() as session:
        session.execute(update(Idempotency).values(created_at=now(session) - 24 * 3600 - 1))
    second = create(database, "key", "b")
    assert second != first
    assert create(database, "key", "b") == second


def test_a_key_whose_job_was_deleted_makes_a_new_one(database: Sessions) -> None:
    account(database)
    first = create(database, "key", "a")
    with database.begin() as session:
        session.execute(update(Job).where(Job.id == first).values(deleted_at=now(session)))
    assert create(database, "key", "a") != first


def test_a_retry_finds_the_job_of_the_call_before_it(database: Sessions) -> None:
    account(database)
    first = create(database, retries="0")
    assert create(database, retries="1") == first
    assert create(database, suffix="b", retries="1") != first


def test_a_call_that_its_retry_has_overtaken_gets_the_retrys_job_once(database: Sessions) -> None:
    account(database)
    second = create(database, retries="1")
    assert create(database, retries="0") == second
    assert create(database, retries="0") != second


def test_a_call_that_comes_long_after_its_retry_makes_a_job_of_its_own(database: Sessions) -> None:
    account(database)
    second = create(database, retries="1")
    with database.begin() as session:
        session.execute(update(Idempotency).values(created_at=now(session) - 61))
    assert create(database, retries="0") != second
