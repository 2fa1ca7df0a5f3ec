"""What every request passes: its id, its log line, its metrics, and answers to errors."""

import logging
import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import errors, metrics
from core.runtime import logs

log = logging.getLogger("albatross.api")

PROBES = ("/healthz", "/readyz")  # asked for every few seconds
METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")


class RequestMiddleware:
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
        metrics.ANSWERS.labels(method, route, status).inc()
        metrics.SECONDS.labels(route).observe(milliseconds / 1000)
        level = logging.DEBUG if route in PROBES else logging.INFO
        log.log(level, "%s %s %d %.0f ms", method, route, status, milliseconds)
