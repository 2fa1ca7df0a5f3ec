"""Signing in on the machine itself: a link that `albatross serve` prints is taken, once, for a short-lived key."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.dependencies import OnThisMachineDep, ServicesDep, checked
from api.http.bodies import read_json
from api.http.openapi import body_of
from api.schemas.start import StartedObject, StartRequest
from core.accounts import audit, start_links
from core.errors import Forbidden

router = APIRouter(tags=["account"])


async def start_request(request: Request, services: ServicesDep, here: OnThisMachineDep) -> StartRequest:
    """Read the token, once it is known that a page of this service sends it, from the machine that it runs on.

    Nothing is counted before that: a page of another site could else use up the tries of those who may.
    """
    if not here or not _same_origin(request):
        raise Forbidden(
            "A start link is opened on the machine that runs the service, at its own address, as in "
            "http://127.0.0.1:8000/. From elsewhere use an API key: `albatross keys create NAME` makes one.",
            code="start_link_refused",
        )
    await services.start_limiter.take("start links")
    return checked(StartRequest, await read_json(request, services.settings))


StartRequestDep = Annotated[StartRequest, Depends(start_request)]


@router.post("/start", openapi_extra=body_of(StartRequest))
def start(request: Request, services: ServicesDep, asked: StartRequestDep, response: Response) -> StartedObject:
    """Take a start link for a key that opens this machine's own account for some hours; needs no key, works once."""
    response.headers["Cache-Control"] = "no-store"
    with services.writing.begin() as session:
        started = start_links.swap(session, services.settings.data, asked.token)
        audit.record(
            session,
            started.account,
            "key.create",
            started.key.split("_")[1],
            address=audit.network(request.client.host if request.client else None),
            request_id=request.scope.get("request_id"),
        )
    return StartedObject(key=started.key, expires_at=int(started.expires_at))


def _same_origin(request: Request) -> bool:
    """Tell whether the page that asks is one of this very address; programs that are no browser name no origin."""
    origin = request.headers.get("origin")
    return origin is None or origin.lower() == f"{request.url.scheme}://{request.headers.get('host', '')}".lower()
