"""Webhook endpoints and their deliveries as they go over the wire: the stock client's objects with ours in `bat`."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from core import text_safety
from core.parameters.request import Request
from core.runtime.complaints import Written
from core.webhooks.destinations import MAX_URL

# written out, because a strict model takes no text for an enum; a test compares them with it
EventName = Literal["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
EventNames = Annotated[list[EventName], Field(min_length=1, max_length=10)]
Name = Annotated[
    str,
    Field(min_length=1, max_length=100),
    Written(r"^[\s\S]*\S[\s\S]*$", "more than spaces"),
    AfterValidator(text_safety.clean),
]
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL)]


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
