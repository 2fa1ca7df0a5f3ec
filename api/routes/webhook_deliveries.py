"""The log of a webhook endpoint's deliveries, and sending one again."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from api.dependencies import AccountDep, AfterDep, CallerDep, ServicesDep
from api.http.pagination import page, plausible, rows_after, unknown_cursor
from api.lookups import find_endpoint
from api.schemas.shared import Page
from api.schemas.webhooks import DeliveryObject
from api.serializers.webhooks import delivery_object
from core.database.tables import WebhookAttempt, WebhookDelivery, WebhookEvent
from core.errors import Conflict, NotFound
from core.webhooks import deliveries

router = APIRouter(prefix="/v1/webhook_endpoints/{webhook_endpoint_id}/deliveries", tags=["webhooks"])
MAX_SHOWN_ATTEMPTS = 20  # of a delivery: the last ones


@router.get("")
def list_deliveries(
    webhook_endpoint_id: str,
    services: ServicesDep,
    account: AccountDep,
    after: AfterDep = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    status: Annotated[Literal["pending", "delivered", "failed"] | None, Query()] = None,
) -> Page[DeliveryObject]:
    """List what was sent or is to be sent, the newest first, each with its attempts."""
    with services.reading.begin() as session:
        endpoint = find_endpoint(session, account, webhook_endpoint_id)
        mine, order = _deliveries(endpoint.id), (WebhookDelivery.created_at, WebhookDelivery.id)
        last = None
        if after is not None:
            of_mine = (WebhookDelivery.endpoint_id == endpoint.id) & (WebhookDelivery.id == after)
            last = session.execute(select(*order).where(of_mine)).one_or_none()
            if last is None:
                raise unknown_cursor()
        if status is not None:
            mine = mine.where(WebhookDelivery.state == status)
        rows, more = rows_after(session, mine, order, last=last, limit=limit, descending=True)
        return page([_shown(session, row) for row in rows], more)


@router.get("/{delivery_id}")
def retrieve_delivery(
    webhook_endpoint_id: str, delivery_id: str, services: ServicesDep, account: AccountDep
) -> DeliveryObject:
    """Show one delivery."""
    with services.reading.begin() as session:
        endpoint = find_endpoint(session, account, webhook_endpoint_id)
        return _shown(session, _find(session, endpoint.id, delivery_id))


@router.post("/{delivery_id}/redeliver")
def redeliver(webhook_endpoint_id: str, delivery_id: str, services: ServicesDep, caller: CallerDep) -> DeliveryObject:
    """Send an event again, soon and under the same webhook-id, with all its tries before it."""
    with services.writing.begin() as session:
        endpoint = find_endpoint(session, caller.account, webhook_endpoint_id, lock=True)
        delivery = _find(session, endpoint.id, delivery_id)
        if endpoint.disabled_at is not None:
            raise Conflict("The endpoint is disabled; enable it first.", code="webhook_endpoint_disabled")
        if deliveries.redeliver(session, delivery):
            caller.note(session, "webhook.redeliver", delivery.id)
        session.flush()
        return _shown(session, delivery)


def _deliveries(endpoint_id: str) -> Select[WebhookDelivery]:
    return select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)


def _find(session: Session, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
    named = _deliveries(endpoint_id).where(WebhookDelivery.id == delivery_id)
    delivery = session.scalar(named) if plausible(delivery_id) else None
    if delivery is None:
        raise NotFound("There is no such delivery of this endpoint.", code="delivery_not_found", param="delivery_id")
    return delivery


def _shown(session: Session, delivery: WebhookDelivery) -> DeliveryObject:
    made = select(WebhookAttempt).where(WebhookAttempt.delivery_id == delivery.id)
    attempts = session.scalars(made.order_by(WebhookAttempt.number.desc()).limit(MAX_SHOWN_ATTEMPTS)).all()
    return delivery_object(delivery, session.get_one(WebhookEvent, delivery.event_id), attempts[::-1])
