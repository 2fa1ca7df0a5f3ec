"""The web application: every route, one error envelope, one request id per answer."""

import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from api.dependencies import Services, Waker
from api.routes import files, health, history, jobs, models, storage
from api.schemas import JobRequest
from core import logs, queue
from core.database import connect, sessions
from core.reader import Reader
from core.settings import Settings
from core.storage import storage as open_storage
from core.version import VERSION

log = logging.getLogger("albatross.api")
THREADS = 16  # the database's pool holds as many connections, so that no thread waits for one


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application on what `settings`, or the environment, name; tables must exist."""
    settings = settings or Settings()
    app = FastAPI(title="Albatross", version=VERSION, description=__doc__, lifespan=_lifespan, redirect_slashes=False)
    engine = connect(settings.database)
    app.state.services = Services(
        settings=settings, engine=engine, writing=sessions(engine), reading=sessions(engine, read_only=True),
        storage=open_storage(settings), reader=Reader(settings), waker=Waker(queue.wake),
    )  # fmt: skip
    app.state.readers = CapacityLimiter(
        settings.readers
    )  # decoding takes memory: more uploads than this wait their turn
    for routes in (files, history, jobs, models, storage, health):
        app.include_router(routes.router)
    errors.install(app)
    app.add_middleware(Answers)
    _describe_job_request(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    if not logging.getLogger().handlers:  # started by uvicorn's own command
        logs.configure(app.state.services.settings, "api")
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    services: Services = app.state.services
    services.reader.start()
    yield
    services.reader.close()
    services.engine.dispose()


def _describe_job_request(app: FastAPI) -> None:
    """Put the request's schema into /docs; the route reads its body itself, so that the key is checked first."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            reference = "#/components/schemas/{model}"
            schemas = models_json_schema([(JobRequest, "validation")], ref_template=reference)[1]["$defs"]
            generate()["components"]["schemas"].update(schemas)
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]


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
        level = logging.DEBUG if route in health.PROBES else logging.INFO
        log.log(level, "%s %s %d %.0f ms", scope["method"], route, status, milliseconds)
