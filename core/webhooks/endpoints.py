"""Webhook endpoints: enabled and removed, and the deletion of their events and deliveries in one order of locks."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from core.database.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent


def enable(endpoint: WebhookEndpoint) -> None:
    """Let an endpoint take deliveries again, as if it had never failed."""
    endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = None


def remove(session: Session, endpoint_id: str) -> None:
    """Delete an endpoint with the log of its deliveries."""
    # locked first: whoever makes a delivery to it, or writes down how a delivery ended, comes before or finds nothing
    session.execute(select(WebhookEndpoint.id).where(WebhookEndpoint.id == endpoint_id).with_for_update())
    forget_deliveries(session, WebhookDelivery.endpoint_id == endpoint_id)
    session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id))


def forget_events(session: Session, which: ColumnElement[bool]) -> int:
    """Delete events with their deliveries; returns how many rows."""
    events = select(WebhookEvent.id).where(which)
    # locked first: whoever makes deliveries of one of them comes before, or finds nothing
    session.execute(events.order_by(WebhookEvent.id).with_for_update())
    rows = forget_deliveries(session, WebhookDelivery.event_id.in_(events))
    return rows + _delete(session, WebhookEvent, which)


def forget_deliveries(session: Session, which: ColumnElement[bool]) -> int:
    """Delete deliveries with their attempts; returns how many rows."""
    ids = select(WebhookDelivery.id).where(which)
    session.execute(ids.order_by(WebhookDelivery.id).with_for_update())
    rows = _delete(session, WebhookAttempt, WebhookAttempt.delivery_id.in_(ids))
    return rows + _delete(session, WebhookDelivery, which)


def forget_account(session: Session, account_id: str) -> int:
    """Delete all that an account has of webhooks; returns how many rows."""
    events, mine = WebhookEvent.account_id == account_id, WebhookEndpoint.account_id == account_id
    session.execute(select(WebhookEvent.id).where(events).order_by(WebhookEvent.id).with_for_update())
    session.execute(select(WebhookEndpoint.id).where(mine).order_by(WebhookEndpoint.id).with_for_update())
    rows = forget_events(session, events)
    return rows + _delete(session, WebhookEndpoint, mine)


def _delete(
    session: Session,
    table: type[WebhookEndpoint | WebhookEvent | WebhookDelivery | WebhookAttempt],
    which: ColumnElement[bool],
) -> int:
    result = session.execute(delete(table).where(which).execution_options(synchronize_session=False))
    rows: int = result.rowcount  # type: ignore[attr-defined]
    return rows
