"""What every request passes: its id, its log line, its metrics, answers to errors, and the compression of answers."""

import logging
import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import errors, metrics
from core.runtime import logs

log = logging.getLogger("albatross.api")

PROBES = ("/healthz", "/readyz")  # asked for every few seconds
METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")
# Event streams would wait in the compressor, downloads say their length and hash, and pictures are small already.
NEVER_COMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream", "image/*")
COMPRESSION_LEVEL = 5  # a kilobyte of JSON in some twenty microseconds, a tenth larger than at 9


class CompressionMiddleware(GZipMiddleware):
    """Compress JSON and text for clients that take gzip.

    How small an answer gets tells something of what stands in it (BREACH), to who can make a victim ask again and again
    with words of his own in the answer. Nobody can: what is an account's is answered only to a key in a header, which
    no other site can make a browser send, and there are no cookies; a secret is shown once, by the call that made it.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, compresslevel=COMPRESSION_LEVEL, exclude_content_types=NEVER_COMPRESSED)


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
