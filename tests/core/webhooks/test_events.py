"""The event of each end of a job, its signature, and what is left of it when something is erased."""

from __future__ import annotations

import base64
import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.schemas.webhooks import EventName
from core.database.engine import now
from core.database.migrations import migrate
from core.database.tables import Job, WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.erasure import rows
from core.jobs import dispatch, leases
from core.jobs.leases import Claim
from core.keys.keyring import Keyring
from core.webhooks import endpoint_secrets, endpoints, events, signatures
from tests.core.erasure.test_eraser import ask, eraser, hits
from tests.core.ledger import Sessions, cancel, finish, get, lose_lease, reap, running
from tests.core.webhooks.postbox import (
    REFUSED,
    claim,
    ended,
    endpoint,
    event_of,
    fan_out,
    hurry,
    one_claimed,
    record_outcome,
)


def crash_out(sessions: Sessions, job_id: str) -> None:
    lose_lease(sessions, job_id)
    reap(sessions, max_crashes=1)


def expire(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == job_id).values(state="QUEUED", lease_until=None, deadline_at=1.0))
    with sessions.begin() as session:
        dispatch.expire(session)


def by_worker(sessions: Sessions, job_id: str, what: str) -> None:
    with sessions.begin() as session:
        if what == "finish":
            assert finish(session, Claim(job_id, 1))
        else:
            assert leases.fail(session, Claim(job_id, 1), "diverged", "Lower it.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "type"),
    [("finish", "succeeded"), ("fail", "failed"), ("crash", "failed"), ("expire", "failed"), ("cancel", "cancelled")],
)
def test_each_end_of_a_job_is_one_event(database: Sessions, end: str, type: str) -> None:
    job_id = running(database).job_id
    assert fan_out(database) == 0
    if end == "cancel":
        cancel(database, job_id)
        with database.begin() as session:
            assert leases.stopped(session, Claim(job_id, 1))
    elif end in ("crash", "expire"):
        {"crash": crash_out, "expire": expire}[end](database, job_id)
    else:
        by_worker(database, job_id, end)
    event = event_of(database, job_id)
    assert event.type == f"fine_tuning.job.{type}"
    assert events.payload(event) == {
        "id": event.id,
        "object": "event",
        "created_at": int(get(database, job_id).finished_at or 0),
        "type": event.type,
        "data": {"id": job_id},
    }


def test_an_end_that_is_rolled_back_is_no_event(database: Sessions) -> None:
    held = running(database)
    with database() as session:
        assert finish(session, held)
        session.flush()
        assert len(session.scalars(select(WebhookEvent)).all()) == 1
        session.rollback()
    with database() as session:
        assert session.scalars(select(WebhookEvent)).all() == []
    assert get(database, held.job_id).state == "RUNNING"


def test_the_wire_names_the_events_that_there_are() -> None:
    assert set(get_args(EventName)) == set(events.EventType) == set(events.ENDS.values())


def test_signatures_are_those_of_standard_webhooks_with_each_secret_in_force(database: Sessions) -> None:
    endpoint(database)
    keyring = Keyring(("one-secret" * 4,))
    with database.begin() as session:
        found = session.scalars(select(WebhookEndpoint)).one()
        first, at = endpoint_secrets.secret_of(found, keyring), now(session)
        endpoint_secrets.rotate(found, at, keyring, keep=True)
        second = endpoint_secrets.secret_of(found, keyring)
        endpoint_secrets.rotate(found, at + 10, keyring, keep=True)
        secret, later = endpoint_secrets.secret_of(found, keyring), at + endpoint_secrets.KEPT_SECONDS + 5
        assert endpoint_secrets.signing_secrets(found, at + 20, keyring) == [secret, second, first]
        assert endpoint_secrets.signing_secrets(found, later, keyring) == [secret, second]
        endpoint_secrets.rotate(found, at + 20, keyring, keep=False)
        assert endpoint_secrets.signing_secrets(found, at + 20, keyring) not in ([secret], [first], [second])
        assert len(endpoint_secrets.signing_secrets(found, at + 20, keyring)) == 1
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    key = base64.b64decode(secret[6:])
    expected = base64.b64encode(hmac.new(key, b'evt_1.1700000000.{"a":1}', hashlib.sha256).digest()).decode()
    told = signatures.headers("evt_1", 1700000000.9, b'{"a":1}', [secret, first])
    assert told["webhook-signature"].split()[0] == f"v1,{expected}"
    assert len(told["webhook-signature"].split()) == 2


@pytest.mark.slow
def test_nobody_is_told_of_what_is_erased_and_nothing_of_it_stays(database: Sessions, store) -> None:  # type: ignore[no-untyped-def]
    endpoint(database)
    held = running(database)
    number = ask(database, "job", held.job_id)
    with database.begin() as session:
        assert leases.stopped(session, held)
    assert fan_out(database) == 1
    assert claim(database) == []
    assert eraser(database, store).advance(number)
    assert set(hits(database, held.job_id)) <= {"audit", "erasure", "usage"}


@pytest.mark.slow
def test_an_erased_account_is_sent_nothing_and_leaves_no_endpoint(database: Sessions, store) -> None:  # type: ignore[no-untyped-def]
    claimed = one_claimed(database)
    assert record_outcome(database, claimed, REFUSED)
    hurry(database)
    number = ask(database, "account", "acct-1")
    assert claim(database) == []
    assert eraser(database, store).advance(number)
    for found in (claimed.endpoint, claimed.delivery, "hooks.test", "whsec_", "evt_"):
        assert set(hits(database, found)) <= {"audit", "erasure"}


def test_migrating_down_and_up_again_with_rows_keeps_the_jobs(database: Sessions, database_url: str) -> None:
    claimed = one_claimed(database)
    assert record_outcome(database, claimed, REFUSED)
    with database() as session:
        job_id = session.scalars(select(WebhookEvent.job_id)).one()
    migrate(database_url, "0002")
    migrate(database_url)
    assert get(database, str(job_id)).state == "CANCELLED"
    assert fan_out(database) == 0
    assert claim(database) == []


def delete_and_fan_out(sessions: Sessions, found: str) -> None:
    def remove() -> None:
        with sessions.begin() as session:
            endpoints.remove(session, found)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(remove), pool.submit(fan_out, sessions)]:
            done.result()


def test_an_endpoint_that_is_deleted_while_events_are_fanned_out_breaks_neither(database: Sessions) -> None:
    for _ in range(10):
        found = endpoint(database)
        ended(database)
        delete_and_fan_out(database, found)
    with database() as session:
        assert session.scalars(select(WebhookDelivery)).all() == []


def erase_jobs(session: Session, which: str) -> None:
    assert rows.of_jobs(session, [which])


def test_a_job_that_is_erased_while_its_event_is_fanned_out_breaks_neither(database: Sessions) -> None:
    endpoint(database)
    for _ in range(10):
        job_id = ended(database)

        def erase(job_id: str = job_id) -> None:
            with database.begin() as session:
                erase_jobs(session, job_id)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(erase), pool.submit(fan_out, database)]:
                done.result()
    assert hits(database, "evt_") == []
