"""The event of each end of a job, and its way to whoever wants it, on both databases and under races."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from api.webhooks import EventName
from core import deliveries, erasure, jobs, reaping, webhooks
from core.database import migrate, now
from core.deliveries import DELAYS, JITTER, MOST_TRIES, Parcel
from core.models import Audit, Job, WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.posting import Answer
from core.settings import Settings
from tests.core.ledger import SETTINGS, Sessions, cancel, finish, get, lose_lease, queued, reap, running
from tests.core.test_erasure import ask, eraser, hits

TOOK, REFUSED, SILENT = Answer(200, None, 0.1), Answer(500, None, 0.1), Answer(None, "timeout", 10.0)
ALL = list(webhooks.EventType)
DAY = 86_400.0


def endpoint(sessions: Sessions, account: str = "acct-1", types: list[str] | None = None, **fields: object) -> str:
    job_id = queued(sessions, account, queue="aside")  # which makes the account
    assert job_id
    with sessions.begin() as session:
        at = now(session) - 1
        made = WebhookEndpoint(
            account_id=account, name="n", url="https://hooks.test/", event_types=types or ALL, created_at=at,
            updated_at=at, secret=webhooks.new_secret(), **fields,
        )  # fmt: skip
        session.add(made)
        session.flush()
        return made.id


def ended(sessions: Sessions, account: str = "acct-1") -> str:
    job_id = queued(sessions, account)
    cancel(sessions, job_id)
    return job_id


def spread(sessions: Sessions) -> int:
    with sessions.begin() as session:
        return deliveries.spread(session)


def claim(sessions: Sessions, room: int = 100, busy: tuple[str, ...] = ()) -> list[Parcel]:
    with sessions.begin() as session:
        return deliveries.claim(session, SETTINGS, room, busy)


def settle(sessions: Sessions, parcel: Parcel, answer: Answer, settings: Settings = SETTINGS) -> bool:
    with sessions.begin() as session:
        return deliveries.settle(session, parcel, answer, settings)


def event_of(sessions: Sessions, job_id: str) -> WebhookEvent:
    with sessions() as session:
        return session.scalars(select(WebhookEvent).where(WebhookEvent.job_id == job_id)).one()


def only(sessions: Sessions, table: type = WebhookDelivery):  # type: ignore[no-untyped-def]
    with sessions() as session:
        return session.scalars(select(table)).one()


def hurry(sessions: Sessions) -> None:
    """As if every delay and every lease had passed."""
    with sessions.begin() as session:
        waiting = update(WebhookDelivery).where(WebhookDelivery.state == "pending")
        session.execute(waiting.values(next_at=0.0, lease_until=None))


def one_parcel(sessions: Sessions) -> Parcel:
    endpoint(sessions)
    ended(sessions)
    spread(sessions)
    [parcel] = claim(sessions)
    return parcel


def crash_out(sessions: Sessions, job_id: str) -> None:
    lose_lease(sessions, job_id)
    reap(sessions, max_crashes=1)


def expire(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == job_id).values(state="QUEUED", lease_until=None, deadline_at=1.0))
    with sessions.begin() as session:
        reaping.expire(session)


def by_worker(sessions: Sessions, job_id: str, what: str) -> None:
    with sessions.begin() as session:
        if what == "finish":
            assert finish(session, job_id, 1)
        else:
            assert jobs.fail(session, job_id, 1, "diverged", "Lower it.")


@pytest.mark.parametrize(
    ("end", "type"),
    [("finish", "succeeded"), ("fail", "failed"), ("crash", "failed"), ("expire", "failed"), ("cancel", "cancelled")],
)
def test_each_end_of_a_job_is_one_event(database: Sessions, end: str, type: str) -> None:
    job_id, _ = running(database)
    assert spread(database) == 0
    if end == "cancel":
        cancel(database, job_id)
        with database.begin() as session:
            assert jobs.stopped(session, job_id, 1)
    elif end in ("crash", "expire"):
        {"crash": crash_out, "expire": expire}[end](database, job_id)
    else:
        by_worker(database, job_id, end)
    event = event_of(database, job_id)
    assert event.type == f"fine_tuning.job.{type}"
    assert webhooks.payload(event) == {
        "id": event.id, "object": "event", "created_at": int(get(database, job_id).finished_at or 0),
        "type": event.type, "data": {"id": job_id},
    }  # fmt: skip


def test_an_end_that_is_rolled_back_is_no_event(database: Sessions) -> None:
    job_id, epoch = running(database)
    with database() as session:
        assert finish(session, job_id, epoch)
        session.flush()
        assert len(session.scalars(select(WebhookEvent)).all()) == 1
        session.rollback()
    with database() as session:
        assert session.scalars(select(WebhookEvent)).all() == []
    assert get(database, job_id).state == "RUNNING"


def test_the_wire_names_the_events_that_there_are() -> None:
    assert set(get_args(EventName)) == set(webhooks.EventType) == set(webhooks.ENDS.values())


def test_an_event_goes_to_those_that_ask_for_it_and_were_there(database: Sessions) -> None:
    wanting = {endpoint(database), endpoint(database, types=["fine_tuning.job.cancelled"])}
    endpoint(database, types=["fine_tuning.job.failed"])
    endpoint(database, "acct-2")
    late = endpoint(database)
    with database.begin() as session:
        session.get_one(WebhookEndpoint, late).created_at = now(session) + 60
    ended(database)
    assert (spread(database), spread(database)) == (1, 0)
    with database() as session:
        assert set(session.scalars(select(WebhookDelivery.endpoint_id))) == wanting


def test_two_who_spread_at_once_make_no_delivery_twice(database: Sessions) -> None:
    endpoint(database)
    for _ in range(20):
        ended(database)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: spread(database), range(8))) == 20
    with database() as session:
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 20


def test_many_senders_at_once_take_each_delivery_once(database: Sessions) -> None:
    for number in range(12):
        endpoint(database, f"acct-{number}")
        ended(database, f"acct-{number}")
    spread(database)
    barrier = threading.Barrier(6)

    def take(_: int) -> list[str]:
        barrier.wait()
        return [parcel.delivery for parcel in claim(database, room=5)]

    with ThreadPoolExecutor(6) as pool:
        taken = [parcel for parcels in pool.map(take, range(6)) for parcel in parcels]
    taken += [parcel.delivery for parcel in claim(database)]
    assert len(taken) == len(set(taken)) == 12


def test_an_endpoint_gets_one_request_at_a_time_and_an_account_few(database: Sessions) -> None:
    for _ in range(3):
        endpoint(database)
    other = endpoint(database, "acct-2")
    for account in ("acct-1", "acct-1", "acct-2", "acct-2"):
        ended(database, account)
    spread(database)
    first = claim(database)
    assert Counter(parcel.account for parcel in first) == {"acct-1": 2, "acct-2": 1}
    assert claim(database, busy=tuple(parcel.account for parcel in first)) == []
    for parcel in first:
        assert settle(database, parcel, TOOK)
    assert other in {parcel.endpoint for parcel in claim(database)}


def test_a_request_that_was_cut_off_is_sent_again_under_the_same_id(database: Sessions) -> None:
    first = one_parcel(database)
    assert claim(database) == []
    hurry(database)
    [second] = claim(database)
    assert (second.delivery, second.attempt) == (first.delivery, 2)
    assert second.headers["webhook-id"] == first.headers["webhook-id"]
    assert second.body == first.body
    assert not settle(database, first, TOOK)  # the first one was slow, not dead: it has nothing more to say
    assert settle(database, second, TOOK)
    with database() as session:
        told = session.execute(select(WebhookAttempt.number, WebhookAttempt.status_code, WebhookAttempt.error)).all()
    assert sorted(told) == [(1, None, "interrupted"), (2, 200, None)]


def test_a_refused_event_is_tried_eight_times_over_a_day_and_then_given_up(database: Sessions) -> None:
    parcel = one_parcel(database)
    waited = 0.0
    for number, delay in enumerate(DELAYS, 1):
        assert settle(database, parcel, SILENT if number % 2 else REFUSED)
        with database() as session:
            wait = session.scalars(select(WebhookDelivery.next_at)).one() - now(session)
        assert wait == pytest.approx(5 * delay, rel=JITTER, abs=1)
        waited += wait
        assert claim(database) == []
        hurry(database)
        [parcel] = claim(database)
    assert waited == pytest.approx(DAY, rel=0.12)
    assert settle(database, parcel, REFUSED)
    delivery = only(database)
    assert (delivery.state, delivery.tries, delivery.next_at) == ("failed", MOST_TRIES, None)
    assert only(database, WebhookEndpoint).disabled_at is None


def test_a_request_that_kills_its_sender_again_and_again_is_given_up(database: Sessions) -> None:
    one_parcel(database)
    for _ in range(MOST_TRIES - 1):
        hurry(database)
        assert len(claim(database)) == 1
    hurry(database)
    assert claim(database) == []
    assert only(database).state == "failed"


def test_gone_is_taken_at_its_word(database: Sessions) -> None:
    parcel = one_parcel(database)
    ended(database)
    spread(database)
    assert settle(database, parcel, Answer(410, None, 0.1))
    assert only(database, WebhookEndpoint).disabled_reason == "gone"
    hurry(database)
    assert claim(database) == []
    ended(database)
    spread(database)
    with database() as session:
        assert [*session.scalars(select(WebhookDelivery.state))] == ["failed"] * 3
        noted = session.execute(select(Audit.action, Audit.target).where(Audit.key_id.is_(None))).all()
    assert noted == [("webhook.disable", parcel.endpoint)]


@pytest.mark.parametrize(("days", "disabled"), [(2.9, False), (3.1, True)])
def test_an_endpoint_that_took_nothing_for_days_is_disabled(database: Sessions, days: float, disabled: bool) -> None:
    parcel = one_parcel(database)
    with database.begin() as session:
        session.execute(update(WebhookEndpoint).values(failing_since=now(session) - days * DAY))
        session.execute(update(WebhookDelivery).values(tries=MOST_TRIES))
    assert settle(database, parcel, REFUSED)
    found = only(database, WebhookEndpoint)
    assert (found.disabled_at is not None, found.disabled_reason) == (disabled, "failing" if disabled else None)


def test_a_success_in_between_counts(database: Sessions) -> None:
    parcel = one_parcel(database)
    with database.begin() as session:
        session.execute(update(WebhookEndpoint).values(failing_since=1.0))
    assert settle(database, parcel, TOOK)
    assert only(database, WebhookEndpoint).failing_since is None


def test_what_arrives_while_its_endpoint_is_disabled_has_still_arrived(database: Sessions) -> None:
    parcel = one_parcel(database)
    with database.begin() as session:
        deliveries.stop(session, session.get_one(WebhookEndpoint, parcel.endpoint), "owner", now(session))
    assert settle(database, parcel, TOOK)
    assert only(database).state == "delivered"


def test_an_ended_delivery_can_be_ordered_again(database: Sessions) -> None:
    parcel = one_parcel(database)
    assert settle(database, parcel, TOOK)
    with database.begin() as session:
        deliveries.again(session, session.get_one(WebhookDelivery, parcel.delivery))
    [second] = claim(database)
    assert (second.headers["webhook-id"], second.attempt) == (parcel.headers["webhook-id"], 2)
    with database.begin() as session:  # one that is under way goes on
        deliveries.again(session, session.get_one(WebhookDelivery, parcel.delivery))
    assert claim(database) == []
    assert settle(database, second, TOOK)


def test_what_was_ordered_again_meanwhile_is_not_put_off_by_an_older_request(database: Sessions) -> None:
    parcel = one_parcel(database)
    with database.begin() as session:
        found = session.get_one(WebhookEndpoint, parcel.endpoint, with_for_update=True)
        deliveries.stop(session, found, "owner", now(session))
        webhooks.enable(found)
        session.flush()
        deliveries.again(session, session.get_one(WebhookDelivery, parcel.delivery))
    assert settle(database, parcel, REFUSED)
    [second] = claim(database)
    assert second.attempt == 2


def test_an_endpoint_that_is_deleted_while_it_is_sent_to_leaves_nothing(database: Sessions) -> None:
    parcel = one_parcel(database)
    with database.begin() as session:
        webhooks.remove(session, parcel.endpoint)
    assert not settle(database, parcel, TOOK)
    with database() as session:
        for table in (WebhookEndpoint, WebhookDelivery, WebhookAttempt):
            assert session.scalars(select(table)).all() == []


def test_signatures_are_those_of_standard_webhooks_with_each_secret_in_force(database: Sessions) -> None:
    endpoint(database)
    with database.begin() as session:
        found = session.scalars(select(WebhookEndpoint)).one()
        first, at = found.secret, now(session)
        webhooks.rotate(found, at, keep=True)
        second = found.secret
        webhooks.rotate(found, at + 10, keep=True)
        assert webhooks.signing_secrets(found, at + 20) == [found.secret, second, first]
        assert webhooks.signing_secrets(found, at + webhooks.KEPT_SECONDS + 5) == [found.secret, second]
        secret = found.secret
        webhooks.rotate(found, at + 20, keep=False)
        assert webhooks.signing_secrets(found, at + 20) == [found.secret]
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    key = base64.b64decode(secret[6:])
    expected = base64.b64encode(hmac.new(key, b'evt_1.1700000000.{"a":1}', hashlib.sha256).digest()).decode()
    told = webhooks.headers("evt_1", 1700000000.9, b'{"a":1}', [secret, first])
    assert told["webhook-signature"].split()[0] == f"v1,{expected}"
    assert len(told["webhook-signature"].split()) == 2


def test_old_deliveries_are_forgotten_and_new_ones_are_not(database: Sessions) -> None:
    assert settle(database, one_parcel(database), TOOK)
    ended(database)
    spread(database)
    with database.begin() as session:
        assert deliveries.forget(session, 30) == 0
        past = now(session) - 31 * DAY
        session.execute(update(WebhookDelivery).where(WebhookDelivery.state == "delivered").values(ended_at=past))
        session.execute(update(WebhookEvent).values(created_at=past))
    with database.begin() as session:
        assert deliveries.forget(session, 30) == 3
    assert only(database).state == "pending"


def test_nobody_is_told_of_what_is_erased_and_nothing_of_it_stays(database: Sessions, store) -> None:  # type: ignore[no-untyped-def]
    endpoint(database)
    job_id, epoch = running(database)
    number = ask(database, "job", job_id)
    with database.begin() as session:
        assert jobs.stopped(session, job_id, epoch)
    assert spread(database) == 1
    assert claim(database) == []
    assert eraser(database, store).advance(number)
    assert set(hits(database, job_id)) <= {"audit", "erasure", "usage"}


def test_an_erased_account_is_sent_nothing_and_leaves_no_endpoint(database: Sessions, store) -> None:  # type: ignore[no-untyped-def]
    parcel = one_parcel(database)
    assert settle(database, parcel, REFUSED)
    hurry(database)
    number = ask(database, "account", "acct-1")
    assert claim(database) == []
    assert eraser(database, store).advance(number)
    for found in (parcel.endpoint, parcel.delivery, "hooks.test", "whsec_", "evt_"):
        assert set(hits(database, found)) <= {"audit", "erasure"}


def test_migrating_down_and_up_again_with_rows_keeps_the_jobs(database: Sessions, database_url: str) -> None:
    parcel = one_parcel(database)
    assert settle(database, parcel, REFUSED)
    with database() as session:
        job_id = session.scalars(select(WebhookEvent.job_id)).one()
    migrate(database_url, "0002")
    migrate(database_url)
    assert get(database, str(job_id)).state == "CANCELLED"
    assert spread(database) == 0
    assert claim(database) == []


def delete_and_spread(sessions: Sessions, found: str) -> None:
    def remove() -> None:
        with sessions.begin() as session:
            webhooks.remove(session, found)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(remove), pool.submit(spread, sessions)]:
            done.result()


def test_an_endpoint_that_is_deleted_while_events_are_spread_breaks_neither(database: Sessions) -> None:
    for _ in range(10):
        found = endpoint(database)
        ended(database)
        delete_and_spread(database, found)
    with database() as session:
        assert session.scalars(select(WebhookDelivery)).all() == []


def erase_jobs(session: Session, which: str) -> None:
    erasure._delete_jobs(session, Job.id == which)


def test_a_job_that_is_erased_while_its_event_is_spread_breaks_neither(database: Sessions) -> None:
    endpoint(database)
    for _ in range(10):
        job_id = ended(database)

        def erase(job_id: str = job_id) -> None:
            with database.begin() as session:
                erase_jobs(session, job_id)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(erase), pool.submit(spread, database)]:
                done.result()
    assert hits(database, "evt_") == []
