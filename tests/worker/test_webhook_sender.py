"""Real dispatchers that send webhooks: killed in the middle, several at once, with receivers that hold them up."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from core.database.engine import connect, now, sessions
from core.database.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from core.webhooks import endpoint_secrets, events
from tests.receiver import Receiver, receiving
from tests.worker.conftest import furnished
from tests.worker.floor import Floor, kill, settings
from worker.webhook_sender import WebhookSender


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"])
def floor(request: pytest.FixtureRequest, tmp_path: Path, valkey_url: str) -> Iterator[Floor]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql").fresh()
    quick = {"webhook_private_networks": "127.0.0.0/8", "webhook_seconds": 1.0, "webhook_retry_seconds": 0.01}
    yield from furnished(settings(tmp_path / "data", url, valkey_url).model_copy(update=quick))


def endpoint(floor: Floor, receiver: Receiver, account: str = "acct-1") -> str:
    floor.job("first", account=account)  # which makes the account
    with floor.sessions.begin() as session:
        at = now(session)
        made = WebhookEndpoint(
            account_id=account,
            name="n",
            url=receiver.url,
            event_types=list(events.EventType),
            created_at=at,
            updated_at=at,
            secret=endpoint_secrets.random_secret(),
        )
        session.add(made)
        session.flush()
        return made.id


def ended(floor: Floor, account: str = "acct-1") -> str:
    job_id = floor.job("ends", account=account)
    floor.order("cancel", job_id)
    return job_id


def attempts(floor: Floor) -> list[tuple[int | None, str | None]]:
    with floor.sessions() as session:
        rows = session.execute(
            select(WebhookAttempt.status_code, WebhookAttempt.error).order_by(WebhookAttempt.number)
        ).all()
    return [(row[0], row[1]) for row in rows]


def states(floor: Floor) -> list[str]:
    with floor.sessions() as session:
        return list(session.scalars(select(WebhookDelivery.state)))


@pytest.mark.slow
def test_a_dispatcher_that_is_killed_in_the_middle_leaves_the_request_to_the_next(
    floor: Floor, receiver: Receiver
) -> None:
    floor.settings = floor.settings.model_copy(update={"webhook_seconds": 5.0})  # killed before, on a busy machine too
    endpoint(floor, receiver)
    receiver.script.append("silence")
    with floor.dispatcher() as process:
        ended(floor)
        floor.wait(lambda: len(receiver.arrived) == 1)
        kill(process)
    with floor.dispatcher():
        floor.wait(lambda: states(floor) == ["delivered"])
    assert attempts(floor) == [(None, "interrupted"), (200, None)]
    assert len(set(receiver.ids())) == 1
    assert receiver.arrived[0].body == receiver.arrived[1].body


@pytest.mark.slow
def test_several_dispatchers_send_each_event_once(floor: Floor, receiver: Receiver) -> None:
    for account in ("acct-1", "acct-2", "acct-3"):
        endpoint(floor, receiver, account)
    with floor.dispatcher(), floor.dispatcher():
        for number in range(12):
            ended(floor, f"acct-{number % 3 + 1}")
        floor.wait(lambda: states(floor) == ["delivered"] * 12)
    assert len(receiver.ids()) == len(set(receiver.ids())) == 12


@pytest.mark.slow
def test_a_dispatcher_that_is_told_to_stop_finishes_what_it_has_in_hand(floor: Floor, receiver: Receiver) -> None:
    endpoint(floor, receiver)
    receiver.script.append("drip")
    with floor.dispatcher() as process:
        ended(floor)
        floor.wait(lambda: len(receiver.arrived) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert attempts(floor) == [(None, "timeout")]


def test_a_receiver_that_is_slow_holds_up_nobody_else(floor: Floor, receiver: Receiver) -> None:
    with receiving() as quick:
        for _ in range(3):
            endpoint(floor, receiver, "acct-1")
        endpoint(floor, quick, "acct-2")
        receiver.script.extend(["silence"] * 50)
        for _ in range(4):
            ended(floor, "acct-1")
        ended(floor, "acct-2")
        with floor.dispatcher():
            floor.wait(lambda: "delivered" in states(floor), 10)
        assert len(quick.arrived) == 1
        assert len(receiver.arrived) < 12


def test_what_is_not_public_is_not_sent_to_though_it_was_when_it_was_named(floor: Floor, receiver: Receiver) -> None:
    endpoint(floor, receiver)
    ended(floor)
    closed = replace(floor, settings=floor.settings.model_copy(update={"webhook_private_networks": ""}))
    with floor.sessions.begin() as session:
        session.execute(update(WebhookEndpoint).values(url=f"https://localhost:{receiver.port}/"))
    WebhookSender(closed.settings, floor.sessions).round()
    with floor.sessions.begin() as session:
        session.execute(update(WebhookEndpoint).values(url="https://localhost/"))
        session.execute(update(WebhookDelivery).values(next_at=0.0))
    WebhookSender(closed.settings, floor.sessions).round()
    assert attempts(floor) == [(None, "refused_url"), (None, "refused_address")]
    assert receiver.arrived == []


def test_looking_for_work_waits_for_no_writer(floor: Floor) -> None:
    engine = connect(floor.settings.database)
    sender = WebhookSender(floor.settings, sessions(engine))
    with floor.sessions.begin() as session:
        session.execute(text("UPDATE job SET priority = 7"))
        began = time.monotonic()
        assert sender.round() == 0
        assert time.monotonic() - began < 5
    engine.dispose()
