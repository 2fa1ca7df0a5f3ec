"""Webhook endpoints as the stock client has them (its `webhooks`): create, show, list, update, delete, rotate, test."""

from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.dependencies import AccountDep, AfterDep, Caller, CallerDep, RetryHeader, Services, ServicesDep, checked
from api.http.bodies import read_optional_json
from api.http.openapi import body_of
from api.http.pagination import page, rows_after, unknown_cursor
from api.lookups import find_endpoint
from api.schemas.shared import Page
from api.schemas.webhooks import (
    EventTypes,
    RotateRequest,
    SampleRequest,
    SampleResult,
    WebhookDeleted,
    WebhookObject,
    WebhookRequest,
    WebhookUpdate,
    WebhookWithSecret,
)
from api.serializers.webhooks import endpoint_object, endpoint_with_secret
from core.accounts import quotas
from core.database.engine import now
from core.database.tables import WebhookEndpoint, WebhookEvent, new_id
from core.errors import InvalidInput, QuotaExceeded
from core.jobs.idempotency import REPEAT_SECONDS
from core.webhooks import deliveries, endpoint_secrets, endpoints, events, signatures
from core.webhooks.destinations import Rules, lookup
from core.webhooks.sender import Answer, Sender

router = APIRouter(prefix="/v1", tags=["webhooks"])
RESOLVE_SECONDS = 2.0
UNREACHED = {
    "refused_url": "webhooks do not go to such a URL any more",
    "refused_address": "its host has an address that webhooks do not go to",
    "unresolvable": "its host has no address",
    "connect_failed": "nobody took the connection",
    "tls_failed": "TLS could not be begun: it speaks none at this port, or its certificate could not be verified",
    "timeout": "it did not answer in time",
    "no_answer": "it ended the connection without an answer",
}


async def _body(request: Request, services: ServicesDep, account: AccountDep) -> object:
    """Read a body that may be left out; what it should hold is asked after the endpoint was found."""
    return await read_optional_json(request, services.settings)


BodyDep = Annotated[object, Depends(_body)]


@router.get("/webhook_event_types")
def list_event_types(account: AccountDep) -> EventTypes:
    """List what endpoints may ask to be told of."""
    return EventTypes(data=list(events.EventType))


@router.post("/webhook_endpoints", openapi_extra=body_of(WebhookRequest))
async def create_endpoint(
    body: BodyDep, services: ServicesDep, caller: CallerDep, retries: RetryHeader = None
) -> WebhookWithSecret:
    """Make an endpoint; its secret is in this answer, and in no other."""
    wanted = checked(WebhookRequest, body)
    work = partial(_create, services, caller, wanted, (retries or "0") != "0")
    return await services.outbound_calls.run(caller.account, work)


@router.get("/webhook_endpoints")
def list_endpoints(
    services: ServicesDep, account: AccountDep, after: AfterDep = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Page[WebhookObject]:
    """List the endpoints, the newest first."""
    with services.reading.begin() as session:
        mine = select(WebhookEndpoint).where(WebhookEndpoint.account_id == account)
        order = (WebhookEndpoint.created_at, WebhookEndpoint.id)
        last = None
        if after is not None:
            of_mine = (WebhookEndpoint.account_id == account) & (WebhookEndpoint.id == after)
            last = session.execute(select(*order).where(of_mine)).one_or_none()
            if last is None:
                raise unknown_cursor()
        rows, more = rows_after(session, mine, order, last=last, limit=limit, descending=True)
        return page(map(endpoint_object, rows), more)


@router.get("/webhook_endpoints/{webhook_endpoint_id}")
def retrieve_endpoint(webhook_endpoint_id: str, services: ServicesDep, account: AccountDep) -> WebhookObject:
    """Show an endpoint, and whether it was disabled and why."""
    with services.reading.begin() as session:
        return endpoint_object(find_endpoint(session, account, webhook_endpoint_id))


@router.post("/webhook_endpoints/{webhook_endpoint_id}", openapi_extra=body_of(WebhookUpdate))
async def update_endpoint(
    webhook_endpoint_id: str, body: BodyDep, services: ServicesDep, caller: CallerDep
) -> WebhookObject:
    """Change what is named. A url, or `bat.enabled`, lets an endpoint that was disabled go on."""
    work = partial(_update, services, caller, webhook_endpoint_id, body)
    if isinstance(body, dict) and "url" in body:
        return await services.outbound_calls.run(caller.account, work)
    return await to_thread.run_sync(work)


@router.delete("/webhook_endpoints/{webhook_endpoint_id}")
def delete_endpoint(webhook_endpoint_id: str, services: ServicesDep, caller: CallerDep) -> WebhookDeleted:
    """Delete an endpoint with the log of its deliveries; what it waits for is not sent any more."""
    with services.writing.begin() as session:
        endpoint = find_endpoint(session, caller.account, webhook_endpoint_id)
        endpoints.remove(session, endpoint.id)
        caller.note(session, "webhook.delete", endpoint.id)
    return WebhookDeleted(id=endpoint.id)


@router.post("/webhook_endpoints/{webhook_endpoint_id}/rotate_secret", openapi_extra=body_of(RotateRequest))
def rotate_secret(
    webhook_endpoint_id: str, body: BodyDep, services: ServicesDep, caller: CallerDep
) -> WebhookWithSecret:
    """Make a new secret, which is shown here only; the old one may sign beside it for a day."""
    with services.writing.begin() as session:
        endpoint = find_endpoint(session, caller.account, webhook_endpoint_id, lock=True)
        wanted = checked(RotateRequest, body)
        keep = bool(wanted.keep_old_secret_active_for_24_hours)
        endpoint_secrets.rotate(endpoint, now(session), services.settings.keyring, keep=keep)
        caller.note(session, "webhook.rotate", endpoint.id)
        return endpoint_with_secret(endpoint, services.settings.keyring)


@router.post("/webhook_endpoints/{webhook_endpoint_id}/test", openapi_extra=body_of(SampleRequest))
async def send_sample(
    webhook_endpoint_id: str, body: BodyDep, services: ServicesDep, caller: CallerDep
) -> SampleResult:
    """Send a sample at once and show the status that came back; 400 with the reason where none did."""
    work = partial(_test, services, caller, webhook_endpoint_id, body)
    return await services.outbound_calls.run(caller.account, work)


def _create(services: Services, caller: Caller, wanted: WebhookRequest, retried: bool) -> WebhookWithSecret:
    _check_url(services, wanted.url)
    with services.writing.begin() as session:
        quotas.locked(session, caller.account)
        at = now(session)
        mine = WebhookEndpoint.account_id == caller.account
        if retried:  # the client repeats itself, since it has never had the first answer
            same = (WebhookEndpoint.url == wanted.url) & (WebhookEndpoint.name == wanted.name)
            first = select(WebhookEndpoint).where(mine, same, WebhookEndpoint.created_at > at - REPEAT_SECONDS)
            for endpoint in session.scalars(first.order_by(WebhookEndpoint.created_at.desc())):
                if endpoint.event_types == _once(wanted.event_types):
                    return endpoint_with_secret(endpoint, services.settings.keyring)
        count = session.scalar(select(func.count()).select_from(WebhookEndpoint).where(mine)) or 0
        if count >= services.settings.webhook_endpoint_limit:
            words = f"An account has at most {services.settings.webhook_endpoint_limit} webhook endpoints; delete one."
            raise QuotaExceeded(words, code="webhook_endpoint_limit")
        identifier = new_id("whe_")
        endpoint = WebhookEndpoint(
            id=identifier,
            account_id=caller.account,
            name=wanted.name,
            url=wanted.url,
            created_at=at,
            updated_at=at,
            event_types=_once(wanted.event_types),
            secret=endpoint_secrets.new_secret(identifier, services.settings.keyring),
            old_secrets=[],
        )
        session.add(endpoint)
        caller.note(session, "webhook.create", endpoint.id)
        return endpoint_with_secret(endpoint, services.settings.keyring)


def _update(services: Services, caller: Caller, identifier: str, body: object) -> WebhookObject:
    with services.reading.begin() as session:
        find_endpoint(session, caller.account, identifier)
    wanted = checked(WebhookUpdate, body)
    if wanted.url is not None:
        _check_url(services, wanted.url)
    with services.writing.begin() as session:
        endpoint = find_endpoint(session, caller.account, identifier, lock=True)
        at = now(session)
        if _change(session, endpoint, wanted, at):
            endpoint.updated_at = at
            caller.note(session, "webhook.update", endpoint.id)
        return endpoint_object(endpoint)


def _change(session: Session, endpoint: WebhookEndpoint, wanted: WebhookUpdate, at: float) -> bool:
    """Make the changes to a locked endpoint; False where they change nothing."""
    before = (endpoint.name, endpoint.url, endpoint.event_types, endpoint.disabled_at)
    endpoint.name = wanted.name if wanted.name is not None else endpoint.name
    endpoint.url = wanted.url if wanted.url is not None else endpoint.url
    endpoint.event_types = _once(wanted.event_types) if wanted.event_types is not None else endpoint.event_types
    if wanted.bat is not None and not wanted.bat.enabled:
        if endpoint.disabled_at is None:
            deliveries.stop(session, endpoint, "owner", at)
    elif wanted.bat is not None or wanted.url is not None:
        endpoints.enable(endpoint)
    return before != (endpoint.name, endpoint.url, endpoint.event_types, endpoint.disabled_at)


def _test(services: Services, caller: Caller, identifier: str, body: object) -> SampleResult:
    with services.reading.begin() as session:
        endpoint = find_endpoint(session, caller.account, identifier)
        wanted = checked(SampleRequest, body)
        at = now(session)
    event = WebhookEvent(id=new_id("evt_"), account_id=caller.account, type=wanted.event_type, created_at=at)
    content = events.body(event)
    signing = endpoint_secrets.signing_secrets(endpoint, at, services.settings.keyring)
    headers = signatures.headers(event.id, at, content, signing)
    answer = Sender(_rules(services), services.settings.webhook_seconds).post(endpoint.url, headers, content)
    with services.writing.begin() as session:
        find_endpoint(session, caller.account, identifier, lock=True)
        deliveries.note_test(session, event, identifier, answer)
        caller.note(session, "webhook.test", identifier)
    return _result(identifier, wanted.event_type, answer)


def _result(identifier: str, event_type: str, answer: Answer) -> SampleResult:
    if answer.status_code is None:
        words = f"The endpoint could not be reached: {UNREACHED[answer.error or 'no_answer']}."
        raise InvalidInput(words, code="webhook_unreachable")
    return SampleResult(webhook_endpoint_id=identifier, event_type=event_type, status_code=answer.status_code)


def _check_url(services: Services, url: str) -> None:
    _rules(services).check(url, lookup, RESOLVE_SECONDS)


def _rules(services: Services) -> Rules:
    return Rules(services.settings.webhook_networks)


def _once(names: list[Any]) -> list[str]:
    return list(dict.fromkeys(names))
