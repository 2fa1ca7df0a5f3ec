"""From rows of endpoints and deliveries to the objects on the wire."""

from collections.abc import Sequence
from typing import Any

from api.schemas.webhooks import AttemptObject, DeliveryObject, WebhookBat, WebhookObject, WebhookWithSecret
from core.database.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.keys.keyring import Keyring
from core.webhooks import endpoint_secrets, events

NOTICES = {
    "owner": "Its owner has disabled it.",
    "gone": "It answered 410 Gone, so nothing is sent to it any more.",
    "failing": "It took nothing for days, so nothing is sent to it any more.",
}
ENABLING = " What it has missed is in its deliveries. Update it with a url, or with bat.enabled, to go on."


def endpoint_object(endpoint: WebhookEndpoint) -> WebhookObject:
    """Show an endpoint without its secret."""
    return WebhookObject(**_shown(endpoint))


def endpoint_with_secret(endpoint: WebhookEndpoint, keyring: Keyring) -> WebhookWithSecret:
    """Show an endpoint with its secret: to the answer that has made it only."""
    return WebhookWithSecret(**_shown(endpoint), signing_secret=endpoint_secrets.secret_of(endpoint, keyring))


def delivery_object(
    delivery: WebhookDelivery, event: WebhookEvent, attempts: Sequence[WebhookAttempt]
) -> DeliveryObject:
    """Show a delivery with its attempts, the first first."""
    shown = [
        AttemptObject(number=a.number, at=int(a.at), seconds=a.seconds, status_code=a.status_code, error=a.error)
        for a in attempts
    ]
    return DeliveryObject(
        id=delivery.id,
        webhook_endpoint_id=delivery.endpoint_id,
        webhook_id=event.id,
        created_at=int(delivery.created_at),
        status=delivery.state,
        ended_at=_seconds(delivery.ended_at),
        next_attempt_at=_seconds(delivery.next_at),
        event=events.payload(event),
        attempts=shown,
    )


def _shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    reason = endpoint.disabled_reason
    bat = WebhookBat(
        enabled=endpoint.disabled_at is None,
        disabled_at=_seconds(endpoint.disabled_at),
        disabled_reason=reason,
        notice=NOTICES[reason] + ENABLING if reason else None,
        failing_since=_seconds(endpoint.failing_since),
    )
    return {
        "id": endpoint.id,
        "created_at": int(endpoint.created_at),
        "updated_at": int(endpoint.updated_at),
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": endpoint.event_types,
        "signing_secret_hint": endpoint_secrets.hint(endpoint),
        "bat": bat,
    }


def _seconds(time: float | None) -> int | None:
    return None if time is None else int(time)
