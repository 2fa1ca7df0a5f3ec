"""Deliveries of webhooks: made from events, claimed by whoever sends, and ended by what came back.

At least once: whoever dies between a request and its outcome leaves a lease that runs out, and the event is sent again
under the same id. Any number of senders may race. Locks are taken in the order event, endpoint, delivery.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.accounts import audit
from core.database import counters
from core.database.engine import now
from core.database.tables import Account, Job, WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.errors import AlbatrossError
from core.settings import Settings
from core.webhooks import endpoint_secrets, endpoints, signatures
from core.webhooks.events import body
from core.webhooks.sender import Answer

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
# before each further try, in units of the first delay: with 5 s these are 5 s, 5 min, 30 min, 2 h, 5 h, 7 h, 9 h
DELAYS = (1, 60, 360, 1440, 3600, 5040, 6480)
MAX_TRIES = len(DELAYS) + 1
JITTER = 0.1
GONE = 410
DAY = 86_400.0
BATCH, DELETE_BATCH = 100, 1000
MAX_OF_AN_ACCOUNT = 2  # among the deliveries that one sender has in hand
INTERRUPTED, DISABLED = "interrupted", "endpoint_disabled"


@dataclass(frozen=True)
class ClaimedDelivery:
    """A claimed delivery with all that sending it takes; its outcome counts while `attempt` is the newest."""

    delivery: str
    endpoint: str
    account: str
    attempt: int
    url: str
    headers: dict[str, str] | None  # none where no key of this service opens the secret that signs
    body: bytes


def fan_out(session: Session) -> int:
    """Make a delivery to each endpoint that wants it, of events that have none yet; returns how many events."""
    statement = select(WebhookEvent).where(WebhookEvent.spread_at.is_(None)).order_by(WebhookEvent.created_at)
    events = session.scalars(statement.limit(BATCH).with_for_update(skip_locked=True)).all()
    for event in events:
        event.spread_at = now(session)
        if _owner_remains(session, event):
            session.add_all(_delivery(event, endpoint) for endpoint in _listeners(session, event))
    return len(events)


def _owner_remains(session: Session, event: WebhookEvent) -> bool:
    """Tell whether the job and the account are still there for their owner: of what is erased nobody is told."""
    alive = select(Job.id).join(Account, Account.id == Job.account_id)
    alive = alive.where(Job.id == event.job_id, Job.deleted_at.is_(None), Account.erased_at.is_(None))
    return session.scalar(alive) is not None


def _listeners(session: Session, event: WebhookEvent) -> list[WebhookEndpoint]:
    """The endpoints that ask for such an event and were there when it happened."""
    mine = select(WebhookEndpoint).where(
        WebhookEndpoint.account_id == event.account_id, WebhookEndpoint.created_at <= event.created_at
    )
    # the lock keeps an endpoint from being deleted between this look and the delivery that points to it
    found = session.scalars(mine.order_by(WebhookEndpoint.id).with_for_update(read=True, key_share=True))
    return [endpoint for endpoint in found if event.type in endpoint.event_types]


def _delivery(event: WebhookEvent, endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Plan a delivery; for a disabled endpoint one that has failed, so that it can be ordered again later."""
    at = event.spread_at
    off = endpoint.disabled_at is not None
    return WebhookDelivery(
        account_id=event.account_id,
        endpoint_id=endpoint.id,
        event_id=event.id,
        created_at=at,
        state=FAILED if off else PENDING,
        next_at=None if off else at,
        ended_at=at if off else None,
    )


def claim(session: Session, settings: Settings, room: int, busy: Collection[str] = ()) -> list[ClaimedDelivery]:
    """Take up to `room` due deliveries under a lease: one an endpoint at a time, and few an account.

    `busy` are the accounts of the deliveries that the caller has in hand, one entry for each.
    """
    at = now(session)
    leased = select(WebhookDelivery.endpoint_id).where(WebhookDelivery.lease_until > at)
    free = select(WebhookDelivery.endpoint_id, WebhookDelivery.account_id).join(
        Account, (Account.id == WebhookDelivery.account_id) & Account.erased_at.is_(None)
    )
    free = free.where(
        WebhookDelivery.state == PENDING, WebhookDelivery.next_at <= at, WebhookDelivery.endpoint_id.not_in(leased)
    )
    grouped = free.group_by(WebhookDelivery.endpoint_id, WebhookDelivery.account_id)
    rows = session.execute(grouped.order_by(func.min(WebhookDelivery.next_at)).limit(DELETE_BATCH)).all()
    in_hand, claimed = Counter(busy), list[ClaimedDelivery]()
    for endpoint_id, account_id in rows:
        if len(claimed) < room and in_hand[account_id] < MAX_OF_AN_ACCOUNT:
            delivery = _claim_first_due(session, settings, endpoint_id, at)
            if delivery is not None:
                claimed.append(delivery)
                in_hand[account_id] += 1
    return claimed


def _claim_first_due(session: Session, settings: Settings, endpoint_id: str, at: float) -> ClaimedDelivery | None:
    """Take the endpoint's first due delivery; None where another sender has it, or it was the last try that died."""
    due = select(WebhookDelivery).where(
        WebhookDelivery.endpoint_id == endpoint_id,
        WebhookDelivery.state == PENDING,
        WebhookDelivery.next_at <= at,
        WebhookDelivery.lease_until.is_(None) | (WebhookDelivery.lease_until <= at),
    )
    locked = due.order_by(WebhookDelivery.next_at, WebhookDelivery.id).limit(1).with_for_update(skip_locked=True)
    delivery = session.scalar(locked.execution_options(populate_existing=True))
    if delivery is None:
        return None
    _note_interruption(session, delivery)
    if delivery.tries >= MAX_TRIES:
        _end(delivery, FAILED, at)
        return None
    return _begin_attempt(session, settings, delivery, at)


def _begin_attempt(session: Session, settings: Settings, delivery: WebhookDelivery, at: float) -> ClaimedDelivery:
    """Begin an attempt at a locked delivery."""
    endpoint = session.get_one(WebhookEndpoint, delivery.endpoint_id, populate_existing=True)
    event = session.get_one(WebhookEvent, delivery.event_id)
    delivery.tries, delivery.attempts = delivery.tries + 1, delivery.attempts + 1
    delivery.lease_until = at + 2 * settings.webhook_seconds + 1
    session.add(WebhookAttempt(delivery_id=delivery.id, number=delivery.attempts, at=at))
    content = body(event)
    try:
        signing = endpoint_secrets.signing_secrets(endpoint, at, settings.keyring)
        headers = signatures.headers(event.id, at, content, signing)
    except AlbatrossError:  # no key of this service opens the secret, or none can be read now
        headers = None
    return ClaimedDelivery(
        delivery.id, endpoint.id, delivery.account_id, delivery.attempts, endpoint.url, headers, content
    )


def record_outcome(session: Session, claimed: ClaimedDelivery, answer: Answer, settings: Settings) -> bool:
    """Write down what the endpoint answered, and plan the next try where it did not take it.

    False where another sender has the delivery by now, or it was deleted meanwhile.
    """
    endpoint = session.get(WebhookEndpoint, claimed.endpoint, with_for_update=True, populate_existing=True)
    delivery = session.get(WebhookDelivery, claimed.delivery, with_for_update=True, populate_existing=True)
    if endpoint is None or delivery is None or delivery.attempts != claimed.attempt:
        return False
    at = now(session)
    attempt = session.get_one(WebhookAttempt, (delivery.id, delivery.attempts))
    attempt.seconds, attempt.status_code, attempt.error = answer.seconds, answer.status_code, answer.error
    delivery.lease_until = None
    if answer.taken:
        endpoint.failing_since = None
        _end(delivery, DELIVERED, at)
        counters.add(session, counters.WEBHOOKS_DELIVERED)
        return True
    counters.add(session, counters.WEBHOOK_TRIES_FAILED)
    if delivery.state != PENDING or not delivery.tries:  # the endpoint was disabled meanwhile, or it is ordered again
        return True
    endpoint.failing_since = endpoint.failing_since or at
    if answer.status_code == GONE:
        _end(delivery, FAILED, at)
        _disable(session, endpoint, "gone", at)
    elif delivery.tries >= MAX_TRIES:
        _give_up(session, endpoint, delivery, settings, at)
    else:
        delay = settings.webhook_retry_seconds * DELAYS[delivery.tries - 1]
        delivery.next_at = at + delay * random.uniform(1 - JITTER, 1 + JITTER)
    return True


def _give_up(
    session: Session, endpoint: WebhookEndpoint, delivery: WebhookDelivery, settings: Settings, at: float
) -> None:
    _end(delivery, FAILED, at)
    counters.add(session, counters.WEBHOOKS_GIVEN_UP)
    if at - (endpoint.failing_since or at) >= settings.webhook_disable_days * DAY and endpoint.disabled_at is None:
        _disable(session, endpoint, "failing", at)


def _disable(session: Session, endpoint: WebhookEndpoint, reason: str, at: float) -> None:
    """Send nothing more to a locked endpoint until its owner enables it; its log shows what it has missed."""
    stop(session, endpoint, reason, at)
    counters.add(session, counters.WEBHOOK_ENDPOINTS_DISABLED)
    audit.record(session, endpoint.account_id, "webhook.disable", endpoint.id)


def stop(session: Session, endpoint: WebhookEndpoint, reason: str, at: float) -> None:
    """Disable a locked endpoint, and give up what waits for it."""
    endpoint.disabled_at, endpoint.disabled_reason = at, reason
    session.flush()
    waiting = (WebhookDelivery.endpoint_id == endpoint.id) & (WebhookDelivery.state == PENDING)
    session.execute(
        update(WebhookDelivery).where(waiting).values(state=FAILED, next_at=None, lease_until=None, ended_at=at)
    )


def redeliver(session: Session, delivery: WebhookDelivery) -> bool:
    """Have an ended delivery sent again, or a waiting one sent now, with as many tries as a new one.

    One that a sender has in hand, or that is about to be sent, stays as it is; then False.
    """
    session.refresh(delivery, with_for_update=True)
    at = now(session)
    in_hand = delivery.lease_until is not None and delivery.lease_until > at
    due = delivery.state == PENDING and delivery.tries == 0 and (delivery.next_at or 0.0) <= at
    if in_hand or due:
        return False
    delivery.state, delivery.next_at, delivery.ended_at, delivery.tries = PENDING, at, None, 0
    return True


def note_test(session: Session, event: WebhookEvent, endpoint_id: str, answer: Answer) -> None:
    """Write a test call into the endpoint's log; it has one try, and failing it counts for nothing."""
    at = now(session)
    event.spread_at = at
    delivery = WebhookDelivery(
        account_id=event.account_id,
        endpoint_id=endpoint_id,
        event_id=event.id,
        tries=1,
        attempts=1,
        created_at=at,
        state=DELIVERED if answer.taken else FAILED,
        ended_at=at,
    )
    session.add(event)
    session.flush()
    session.add(delivery)
    session.flush()
    session.add(
        WebhookAttempt(
            delivery_id=delivery.id,
            number=1,
            at=at - answer.seconds,
            seconds=answer.seconds,
            status_code=answer.status_code,
            error=answer.error,
        )
    )


def prune(session: Session, days: float) -> int:
    """Delete deliveries that ended more than so many days ago, and events that nothing needs; returns how many rows."""
    before = now(session) - days * DAY
    old = WebhookDelivery.ended_at < before
    # events first, as everywhere, each with its deliveries; then the old ones of events that are still needed
    needed = select(WebhookDelivery.id).where(WebhookDelivery.event_id == WebhookEvent.id, old.is_not(True)).exists()
    past = (WebhookEvent.created_at < before) & WebhookEvent.spread_at.is_not(None) & ~needed
    events: Sequence[str] = session.scalars(select(WebhookEvent.id).where(past).limit(DELETE_BATCH)).all()
    rows = endpoints.forget_events(session, WebhookEvent.id.in_(events)) if events else 0
    ids: Sequence[str] = session.scalars(select(WebhookDelivery.id).where(old).limit(DELETE_BATCH)).all()
    return rows + (endpoints.forget_deliveries(session, WebhookDelivery.id.in_(ids)) if ids else 0)


def _end(delivery: WebhookDelivery, state: str, at: float) -> None:
    delivery.state, delivery.next_at, delivery.lease_until, delivery.ended_at = state, None, None, at


def _note_interruption(session: Session, delivery: WebhookDelivery) -> None:
    """Write down of the last attempt, where its sender died before its outcome, that it was interrupted."""
    last = session.get(WebhookAttempt, (delivery.id, delivery.attempts)) if delivery.attempts else None
    if last is not None and last.status_code is None and last.error is None:
        last.error = INTERRUPTED
