"""The way of an event to whoever wants it, on both databases and under races."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from core.database.engine import now
from core.database.tables import Audit, WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.webhooks import deliveries, endpoints
from core.webhooks.deliveries import DELAYS, JITTER, MAX_TRIES
from core.webhooks.sender import Answer
from tests.core.ledger import SETTINGS, Sessions
from tests.core.webhooks.postbox import (
    DAY,
    REFUSED,
    SILENT,
    TOOK,
    claim,
    ended,
    endpoint,
    fan_out,
    hurry,
    one_claimed,
    only,
    record_outcome,
)


def test_an_event_goes_to_those_that_ask_for_it_and_were_there(database: Sessions) -> None:
    wanting = {endpoint(database), endpoint(database, types=["fine_tuning.job.cancelled"])}
    endpoint(database, types=["fine_tuning.job.failed"])
    endpoint(database, "acct-2")
    late = endpoint(database)
    with database.begin() as session:
        session.get_one(WebhookEndpoint, late).created_at = now(session) + 60
    ended(database)
    assert (fan_out(database), fan_out(database)) == (1, 0)
    with database() as session:
        assert set(session.scalars(select(WebhookDelivery.endpoint_id))) == wanting


def test_two_who_fan_out_at_once_make_no_delivery_twice(database: Sessions) -> None:
    endpoint(database)
    for _ in range(20):
        ended(database)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: fan_out(database), range(8))) == 20
    with database() as session:
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 20


def test_many_senders_at_once_take_each_delivery_once(database: Sessions) -> None:
    for number in range(12):
        endpoint(database, f"acct-{number}")
        ended(database, f"acct-{number}")
    fan_out(database)
    barrier = threading.Barrier(6)

    def take(_: int) -> list[str]:
        barrier.wait()
        return [claimed.delivery for claimed in claim(database, room=5)]

    with ThreadPoolExecutor(6) as pool:
        taken = [claimed for many in pool.map(take, range(6)) for claimed in many]
    taken += [claimed.delivery for claimed in claim(database)]
    assert len(taken) == len(set(taken)) == 12


def test_an_endpoint_gets_one_request_at_a_time_and_an_account_few(database: Sessions) -> None:
    for _ in range(3):
        endpoint(database)
    other = endpoint(database, "acct-2")
    for account in ("acct-1", "acct-1", "acct-2", "acct-2"):
        ended(database, account)
    fan_out(database)
    first = claim(database)
    assert Counter(claimed.account for claimed in first) == {"acct-1": 2, "acct-2": 1}
    assert claim(database, busy=tuple(claimed.account for claimed in first)) == []
    for claimed in first:
        assert record_outcome(database, claimed, TOOK)
    assert other in {claimed.endpoint for claimed in claim(database)}


def test_a_request_that_was_cut_off_is_sent_again_under_the_same_id(database: Sessions) -> None:
    first = one_claimed(database)
    assert claim(database) == []
    hurry(database)
    [second] = claim(database)
    assert (second.delivery, second.attempt) == (first.delivery, 2)
    assert second.headers["webhook-id"] == first.headers["webhook-id"]
    assert second.body == first.body
    assert not record_outcome(database, first, TOOK)  # the first one was slow, not dead: it has nothing more to say
    assert record_outcome(database, second, TOOK)
    with database() as session:
        told = session.execute(select(WebhookAttempt.number, WebhookAttempt.status_code, WebhookAttempt.error)).all()
    assert sorted(told) == [(1, None, "interrupted"), (2, 200, None)]


def test_a_refused_event_is_tried_eight_times_over_a_day_and_then_given_up(database: Sessions) -> None:
    claimed = one_claimed(database)
    assert SETTINGS.webhook_retry_seconds * sum(DELAYS) == pytest.approx(DAY, rel=0.02)
    unhurried = SETTINGS.model_copy(update={"webhook_retry_seconds": 500})  # no wait is over while this looks at it
    for number, delay in enumerate(DELAYS, 1):
        with database() as session:
            before = now(session)
        assert record_outcome(database, claimed, SILENT if number % 2 else REFUSED, unhurried)
        with database() as session:
            due, after = session.scalars(select(WebhookDelivery.next_at)).one(), now(session)
        assert before + 500 * delay * (1 - JITTER) <= due <= after + 500 * delay * (1 + JITTER)
        assert claim(database) == []
        hurry(database)
        [claimed] = claim(database)
    assert record_outcome(database, claimed, REFUSED)
    delivery = only(database)
    assert (delivery.state, delivery.tries, delivery.next_at) == ("failed", MAX_TRIES, None)
    assert only(database, WebhookEndpoint).disabled_at is None


def test_a_request_that_kills_its_sender_again_and_again_is_given_up(database: Sessions) -> None:
    one_claimed(database)
    for _ in range(MAX_TRIES - 1):
        hurry(database)
        assert len(claim(database)) == 1
    hurry(database)
    assert claim(database) == []
    assert only(database).state == "failed"


def test_gone_is_taken_at_its_word(database: Sessions) -> None:
    claimed = one_claimed(database)
    ended(database)
    fan_out(database)
    assert record_outcome(database, claimed, Answer(410, None, 0.1))
    assert only(database, WebhookEndpoint).disabled_reason == "gone"
    hurry(database)
    assert claim(database) == []
    ended(database)
    fan_out(database)
    with database() as session:
        assert [*session.scalars(select(WebhookDelivery.state))] == ["failed"] * 3
        noted = session.execute(select(Audit.action, Audit.target).where(Audit.key_id.is_(None))).all()
    assert noted == [("webhook.disable", claimed.endpoint)]


@pytest.mark.parametrize(("days", "disabled"), [(2.9, False), (3.1, True)])
def test_an_endpoint_that_took_nothing_for_days_is_disabled(database: Sessions, days: float, disabled: bool) -> None:
    claimed = one_claimed(database)
    with database.begin() as session:
        session.execute(update(WebhookEndpoint).values(failing_since=now(session) - days * DAY))
        session.execute(update(WebhookDelivery).values(tries=MAX_TRIES))
    assert record_outcome(database, claimed, REFUSED)
    found = only(database, WebhookEndpoint)
    assert (found.disabled_at is not None, found.disabled_reason) == (disabled, "failing" if disabled else None)


def test_a_success_in_between_counts(database: Sessions) -> None:
    claimed = one_claimed(database)
    with database.begin() as session:
        session.execute(update(WebhookEndpoint).values(failing_since=1.0))
    assert record_outcome(database, claimed, TOOK)
    assert only(database, WebhookEndpoint).failing_since is None


def test_what_arrives_while_its_endpoint_is_disabled_has_still_arrived(database: Sessions) -> None:
    claimed = one_claimed(database)
    with database.begin() as session:
        deliveries.stop(session, session.get_one(WebhookEndpoint, claimed.endpoint), "owner", now(session))
    assert record_outcome(database, claimed, TOOK)
    assert only(database).state == "delivered"


def test_an_ended_delivery_can_be_ordered_again(database: Sessions) -> None:
    claimed = one_claimed(database)
    assert record_outcome(database, claimed, TOOK)
    for changes in (True, False):  # what is about to be sent already is not ordered a second time
        with database.begin() as session:
            assert deliveries.redeliver(session, session.get_one(WebhookDelivery, claimed.delivery)) == changes
    [second] = claim(database)
    assert (second.headers["webhook-id"], second.attempt) == (claimed.headers["webhook-id"], 2)
    with database.begin() as session:  # one that is under way goes on
        assert not deliveries.redeliver(session, session.get_one(WebhookDelivery, claimed.delivery))
    assert claim(database) == []
    assert record_outcome(database, second, TOOK)


def test_what_was_ordered_again_meanwhile_is_not_put_off_by_an_older_request(database: Sessions) -> None:
    claimed = one_claimed(database)
    with database.begin() as session:
        found = session.get_one(WebhookEndpoint, claimed.endpoint, with_for_update=True)
        deliveries.stop(session, found, "owner", now(session))
        endpoints.enable(found)
        session.flush()
        deliveries.redeliver(session, session.get_one(WebhookDelivery, claimed.delivery))
    assert record_outcome(database, claimed, REFUSED)
    [second] = claim(database)
    assert second.attempt == 2


def test_an_endpoint_that_is_deleted_while_it_is_sent_to_leaves_nothing(database: Sessions) -> None:
    claimed = one_claimed(database)
    with database.begin() as session:
        endpoints.remove(session, claimed.endpoint)
    assert not record_outcome(database, claimed, TOOK)
    with database() as session:
        for table in (WebhookEndpoint, WebhookDelivery, WebhookAttempt):
            assert session.scalars(select(table)).all() == []


def test_old_deliveries_are_forgotten_and_new_ones_are_not(database: Sessions) -> None:
    assert record_outcome(database, one_claimed(database), TOOK)
    ended(database)
    fan_out(database)
    with database.begin() as session:
        assert deliveries.prune(session, 30) == 0
        past = now(session) - 31 * DAY
        session.execute(update(WebhookDelivery).where(WebhookDelivery.state == "delivered").values(ended_at=past))
        session.execute(update(WebhookEvent).values(created_at=past))
    with database.begin() as session:
        assert deliveries.prune(session, 30) == 3
    assert only(database).state == "pending"
