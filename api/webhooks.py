"""What the wire carries about webhooks: the stock client's objects with ours in `bat`, and the log of deliveries."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from core import text_safety
from core.database.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.parameters.request import Request
from core.webhooks import events, signatures
from core.webhooks.destinations import LONGEST_URL

# written out, because a strict model takes no text for an enum; a test compares them with it
EventName = Literal["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
EventNames = Annotated[list[EventName], Field(min_length=1, max_length=10)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S"), AfterValidator(text_safety.clean)]
Url = Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
NOTICES = {
    "owner": "Its owner has disabled it.",
    "gone": "It answered 410 Gone, so nothing is sent to it any more.",
    "failing": "It took nothing for days, so nothing is sent to it any more.",
}
ENABLING = " What it has missed is in its deliveries. Update it with a url, or with bat.enabled, to go on."


class WebhookRequest(Request):
    """The body of POST /v1/webhook_endpoints."""

    name: Name
    url: Url = Field(description="https, port 443 or 8443, a public host")
    event_types: EventNames


class WebhookUpdateBat(Request):
    """What of ours can be changed."""

    enabled: bool


class WebhookUpdate(Request):
    """The body of POST /v1/webhook_endpoints/{webhook_endpoint_id}; what is left out stays as it is."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventNames | None = None
    bat: WebhookUpdateBat | None = None


class RotateRequest(Request):
    """The body of POST /v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret."""

    keep_old_secret_active_for_24_hours: bool | None = None


class SampleRequest(Request):
    """The body of POST /v1/webhook_endpoints/{webhook_endpoint_id}/test."""

    event_type: EventName


class WebhookBat(BaseModel):
    """Whether deliveries are sent, and why not."""

    enabled: bool
    disabled_at: int | None
    disabled_reason: Literal["owner", "gone", "failing"] | None
    notice: str | None
    failing_since: int | None


class WebhookObject(BaseModel):
    """An endpoint; its secret is never shown again."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    created_at: int
    updated_at: int
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    bat: WebhookBat


class WebhookWithSecret(WebhookObject):
    """An endpoint with the secret that signs what is sent to it: the one time that it is shown."""

    signing_secret: str


class WebhookDeleted(BaseModel):
    """The answer to a DELETE: nothing is sent to it any more, and its log is gone."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class EventTypes(BaseModel):
    """What endpoints may ask for."""

    object: Literal["list"] = "list"
    data: list[str]


class SampleResult(BaseModel):
    """The status with which an endpoint has answered a sample."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


class AttemptObject(BaseModel):
    """One request: the status that came back, or a word for why none did."""

    number: int
    at: int
    seconds: float | None
    status_code: int | None
    error: str | None


class DeliveryObject(BaseModel):
    """One event on its way to one endpoint; `webhook_id` is what the receiver knows it by, over all attempts."""

    id: str
    object: Literal["webhook_endpoint.delivery"] = "webhook_endpoint.delivery"
    webhook_endpoint_id: str
    webhook_id: str
    created_at: int
    status: Literal["pending", "delivered", "failed"]
    ended_at: int | None
    next_attempt_at: int | None
    event: dict[str, Any]
    attempts: list[AttemptObject]


def endpoint_object(endpoint: WebhookEndpoint) -> WebhookObject:
    """Show an endpoint without its secret."""
    return WebhookObject(**_shown(endpoint))


def endpoint_with_secret(endpoint: WebhookEndpoint) -> WebhookWithSecret:
    """Show an endpoint with its secret: to the answer that has made it only."""
    return WebhookWithSecret(**_shown(endpoint), signing_secret=endpoint.secret)


def delivery_object(
    delivery: WebhookDelivery, event: WebhookEvent, attempts: Sequence[WebhookAttempt]
) -> DeliveryObject:
    """Show a delivery with its attempts, the first first."""
    shown = [
        AttemptObject(number=a.number, at=int(a.at), seconds=a.seconds, status_code=a.status_code, error=a.error)
        for a in attempts
    ]
    return DeliveryObject(
        id=delivery.id, webhook_endpoint_id=delivery.endpoint_id, webhook_id=event.id,
        created_at=int(delivery.created_at), status=delivery.state, ended_at=_seconds(delivery.ended_at),
        next_attempt_at=_seconds(delivery.next_at), event=events.payload(event), attempts=shown,
    )  # fmt: skip


def _shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    reason = endpoint.disabled_reason
    bat = WebhookBat(
        enabled=endpoint.disabled_at is None, disabled_at=_seconds(endpoint.disabled_at), disabled_reason=reason,
        notice=NOTICES[reason] + ENABLING if reason else None, failing_since=_seconds(endpoint.failing_since),
    )  # fmt: skip
    return {
        "id": endpoint.id, "created_at": int(endpoint.created_at), "updated_at": int(endpoint.updated_at),
        "name": endpoint.name, "url": endpoint.url, "event_types": endpoint.event_types,
        "signing_secret_hint": signatures.hint(endpoint.secret), "bat": bat,
    }  # fmt: skip


def _seconds(time: float | None) -> int | None:
    return None if time is None else int(time)
