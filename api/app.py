"""The web application: every route, one error envelope, one request id per answer."""

import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors, uploads
from api.dependencies import Services, Waker
from api.pace import Pace
from api.routes import (
    account,
    deliveries,
    estimates,
    files,
    health,
    history,
    items,
    jobs,
    measures,
    models,
    presets,
    storage,
    webhooks,
)
from api.schemas.items import CaptionsRequest
from api.schemas.shared import Error
from api.schemas.webhooks import RotateRequest, SampleRequest, WebhookRequest, WebhookUpdate
from core.database.engine import connect, sessions
from core.parameters.presets import LivePresets
from core.parameters.request import JobRequest
from core.runtime import broker, logs
from core.settings import Settings
from core.storage.factory import storage as open_storage
from core.uploads.reader import Reader
from core.version import VERSION

log = logging.getLogger("albatross.api")
METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")
BODIES = (JobRequest, CaptionsRequest, WebhookRequest, WebhookUpdate, RotateRequest, SampleRequest)
REFERENCE = "#/components/schemas/{model}"
OUTBOUND = 4
THREADS = 8  # more get in each other's way; the database's pool holds more connections, so that none waits for one


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application on what `settings`, or the environment, name; tables must exist."""
    settings = settings or Settings()
    app = FastAPI(
        title="Albatross", version=VERSION, description=__doc__, lifespan=_lifespan, redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # what generators name their functions after
    )  # fmt: skip
    engine = connect(settings.database)
    app.state.services = Services(
        settings=settings, engine=engine, writing=sessions(engine), reading=sessions(engine, read_only=True),
        storage=open_storage(settings), reader=Reader(settings), waker=Waker(broker.wake),
        pace=Pace(settings.requests_per_minute), live_presets=LivePresets(settings.presets_folder),
    )  # fmt: skip
    # decoding takes memory: more uploads than this wait their turn
    app.state.readers = CapacityLimiter(settings.readers)
    # what asks other servers waits for nobody but its like
    app.state.outbound, app.state.turns = CapacityLimiter(OUTBOUND), webhooks.Turns()
    for routes in (
        files, items, presets, history, estimates, jobs, models, account, storage, webhooks, deliveries, health,
        measures,
    ):  # fmt: skip
        app.include_router(routes.router)
    errors.install(app)
    app.add_middleware(Answers)
    _describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    if not logging.getLogger().handlers:  # started by uvicorn's own command
        logs.configure(app.state.services.settings, "api")
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    services: Services = app.state.services
    services.reader.start()
    uploads.sweep(services.settings.data / "uploads")
    yield
    services.reader.close()
    services.engine.dispose()


def _describe(app: FastAPI) -> None:
    """Put into /docs what routes do not say of themselves: bodies that they read on their own, errors, headers."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas: dict[str, Any] = document["components"]["schemas"]
            models = [*((model, "validation") for model in BODIES), (Error, "serialization")]
            schemas.update(models_json_schema(models, ref_template=REFERENCE)[1]["$defs"])  # type: ignore[arg-type]
            del schemas["HTTPValidationError"], schemas["ValidationError"]
            for operation in (operation for path in document["paths"].values() for operation in path.values()):
                _describe_answers(operation["responses"])
                operation.get("requestBody", {})["required"] = True
            _list_constants(document)
            ready = document["paths"]["/readyz"]["get"]["responses"]
            ready["503"]["content"] = ready["200"]["content"]
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]


def _list_constants(part: Any) -> None:
    """Write a constant among several choices as a list of one: generators of clients take it for the only choice."""
    for choice in part.get("anyOf", ()) if isinstance(part, dict) else ():
        if "const" in choice:
            choice["enum"] = [choice.pop("const")]
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _list_constants(inner)


def _describe_answers(answers: dict[str, Any]) -> None:
    answers.pop("422", None)
    answers["200"].setdefault(
        "content", {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    )
    error = {"application/json": {"schema": {"$ref": REFERENCE.format(model="Error")}}}
    answers["4XX"] = {"description": "The request cannot be served as it is", "content": error}
    answers["503"] = {"description": "A part of the service is away or full: try again", "content": error}
    for answer in answers.values():
        answer["headers"] = {"x-request-id": {"schema": {"type": "string"}, "required": True}}


class Answers:
    """Give every answer a request id, keep browsers from guessing its type, and log one line without any content."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = f"req_{secrets.token_hex(12)}"
        with logs.bound(request=scope["request_id"]):
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = scope["request_id"]
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        try:
            await self.app(scope, receive, send_marked)
        except Exception as error:
            if status:  # too late for another answer: let the server cut the connection
                raise
            await errors.unexpected(scope, error)(scope, receive, send_marked)
        milliseconds = 1000 * (time.monotonic() - began)
        route = getattr(scope.get("route"), "path", "-")  # the pattern: addresses hold ids and filters
        method = scope["method"] if scope["method"] in METHODS else "other"  # a client may make up any number
        measures.ANSWERS.labels(method, route, status).inc()
        measures.SECONDS.labels(route).observe(milliseconds / 1000)
        level = logging.DEBUG if route in health.PROBES else logging.INFO
        log.log(level, "%s %s %d %.0f ms", scope["method"], route, status, milliseconds)
