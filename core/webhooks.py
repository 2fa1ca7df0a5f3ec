"""Webhooks: the event that each end of a job is, the endpoints that want it, and the signature of a request.

Signatures follow Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over "{id}.{timestamp}.{body}".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Job, JobState, Json, WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.version import VERSION

PREFIX = "whsec_"
SECRET_BYTES = 33  # a multiple of three, so that nothing has to be padded
KEPT_SECONDS = 86_400.0  # that a secret signs on after it was replaced, where its owner asks for that
MOST_SECRETS = 10
SAMPLE_JOB = "ftjob-sample"


class EventType(StrEnum):
    """What endpoints may ask to be told of."""

    SUCCEEDED = "fine_tuning.job.succeeded"
    FAILED = "fine_tuning.job.failed"
    CANCELLED = "fine_tuning.job.cancelled"


ENDS: Mapping[JobState, EventType] = {
    JobState.SUCCEEDED: EventType.SUCCEEDED,
    JobState.FAILED: EventType.FAILED,
    JobState.CANCELLED: EventType.CANCELLED,
    JobState.EXPIRED: EventType.FAILED,
}


def announce(session: Session, job: Job) -> None:
    """Write the event of a job's end, in the transaction that ends it."""
    at = job.finished_at if job.finished_at is not None else now(session)
    event = WebhookEvent(account_id=job.account_id, job_id=job.id, type=ENDS[JobState(job.state)], created_at=at)
    session.add(event)


def payload(event: WebhookEvent) -> Json:
    """Return what an endpoint is told; the same whenever it is asked for."""
    return {
        "id": event.id, "object": "event", "created_at": int(event.created_at), "type": event.type,
        "data": {"id": event.job_id or SAMPLE_JOB},
    }  # fmt: skip


def body(event: WebhookEvent) -> bytes:
    """Return the bytes that are sent, and signed."""
    return json.dumps(payload(event), separators=(",", ":")).encode()


def new_secret() -> str:
    """Make a secret to sign with; its owner sees it once."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def hint(secret: str) -> str:
    """Show enough of a secret to tell it from another, and too little to sign with."""
    return f"{PREFIX}...{secret[-4:]}"


def rotate(endpoint: WebhookEndpoint, at: float, *, keep: bool) -> None:
    """Give the endpoint a new secret; with `keep` the one until now signs too for a day, else all older ones end."""
    kept = _in_force(endpoint, at)[: MOST_SECRETS - 1] if keep else []
    if keep:
        kept = [{"secret": endpoint.secret, "until": at + KEPT_SECONDS}, *kept]
    endpoint.secret, endpoint.old_secrets, endpoint.updated_at = new_secret(), kept, at


def signing_secrets(endpoint: WebhookEndpoint, at: float) -> list[str]:
    """Return the secrets that sign now, the newest first."""
    return [endpoint.secret, *(str(old["secret"]) for old in _in_force(endpoint, at))]


def headers(message: str, at: float, content: bytes, signing: Sequence[str]) -> dict[str, str]:
    """Return the headers that a receiver checks a request by; `message` stays the same over all tries."""
    timestamp = str(int(at))
    return {
        "Content-Type": "application/json", "User-Agent": f"Albatross/{VERSION}", "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(sign(secret, message, timestamp, content) for secret in signing),
    }  # fmt: skip


def sign(secret: str, message: str, timestamp: str, content: bytes) -> str:
    """Return `v1,` and the signature of one request with one secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.new(key, f"{message}.{timestamp}.".encode() + content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def enable(endpoint: WebhookEndpoint) -> None:
    """Let an endpoint take deliveries again, as if it had never failed."""
    endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = None


def remove(session: Session, endpoint_id: str) -> None:
    """Delete an endpoint with the log of its deliveries."""
    # locked first: whoever spreads an event to it, or writes down how a delivery ended, comes before or finds nothing
    session.execute(select(WebhookEndpoint.id).where(WebhookEndpoint.id == endpoint_id).with_for_update())
    forget_deliveries(session, WebhookDelivery.endpoint_id == endpoint_id)
    session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id))


def forget_events(session: Session, which: ColumnElement[bool]) -> int:
    """Delete events with their deliveries; returns how many rows."""
    events = select(WebhookEvent.id).where(which)
    session.execute(
        events.order_by(WebhookEvent.id).with_for_update()
    )  # whoever spreads one of them comes before or finds nothing
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
    session: Session, table: type[WebhookEndpoint | WebhookEvent | WebhookDelivery | WebhookAttempt],
    which: ColumnElement[bool],
) -> int:  # fmt: skip
    result = session.execute(delete(table).where(which).execution_options(synchronize_session=False))
    rows: int = result.rowcount  # type: ignore[attr-defined]
    return rows


def _in_force(endpoint: WebhookEndpoint, at: float) -> list[Json]:
    return [old for old in endpoint.old_secrets if float(old["until"]) > at]
