"""Endpoints, events on their way to them, and what came back, on the real tables."""

from __future__ import annotations

from sqlalchemy import select, update

from core.database.engine import now
from core.database.tables import WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.settings import Settings
from core.webhooks import deliveries, endpoint_secrets, events
from core.webhooks.deliveries import ClaimedDelivery
from core.webhooks.sender import Answer
from tests.core.ledger import SETTINGS, Sessions, cancel, queued

TOOK, REFUSED, SILENT = Answer(200, None, 0.1), Answer(500, None, 0.1), Answer(None, "timeout", 10.0)
ALL = list(events.EventType)
DAY = 86_400.0


def endpoint(sessions: Sessions, account: str = "acct-1", types: list[str] | None = None, **fields: object) -> str:
    job_id = queued(sessions, account, queue="aside")  # which makes the account
    assert job_id
    with sessions.begin() as session:
        at = now(session) - 1
        made = WebhookEndpoint(
            account_id=account,
            name="n",
            url="https://hooks.test/",
            event_types=types or ALL,
            created_at=at,
            updated_at=at,
            secret=endpoint_secrets.random_secret(),
            **fields,
        )
        session.add(made)
        session.flush()
        return made.id


def ended(sessions: Sessions, account: str = "acct-1") -> str:
    job_id = queued(sessions, account)
    cancel(sessions, job_id)
    return job_id


def fan_out(sessions: Sessions) -> int:
    with sessions.begin() as session:
        return deliveries.fan_out(session)


def claim(sessions: Sessions, room: int = 100, busy: tuple[str, ...] = ()) -> list[ClaimedDelivery]:
    with sessions.begin() as session:
        return deliveries.claim(session, SETTINGS, room, busy)


def record_outcome(sessions: Sessions, claimed: ClaimedDelivery, answer: Answer, settings: Settings = SETTINGS) -> bool:
    with sessions.begin() as session:
        return deliveries.record_outcome(session, claimed, answer, settings)


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


def one_claimed(sessions: Sessions) -> ClaimedDelivery:
    endpoint(sessions)
    ended(sessions)
    fan_out(sessions)
    [claimed] = claim(sessions)
    return claimed
