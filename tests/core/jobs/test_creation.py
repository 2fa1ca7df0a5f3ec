"""No account gets more jobs in than it may have, however many calls come at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.database.engine import now
from core.database.tables import Account, Job
from core.errors import RateLimited
from core.jobs import creation
from core.settings import Settings
from tests.core.ledger import Sessions, cancel, get, moves

CALLS = 20


def account(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.add(Account(id="acct-1", name="acct-1", created_at=now(session)))


def create(sessions: Sessions, limit: int = 50) -> str:
    job = Job(account_id="acct-1", backbone="tiny", request={}, training_files=[], seed=1, queue="gpu")
    with sessions.begin() as session:
        return creation.create(session, job, Settings(active_job_limit=limit)).id


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
