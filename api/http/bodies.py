"""Read a request body: counted, never inflated, and parsed more strictly than JSON libraries do by themselves."""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from core.errors import BodyTooLarge, InvalidInput, UnsupportedBody
from core.runtime.complaints import shown_key
from core.settings import Settings
from core.text_safety import UNCLEAN

MAX_JSON_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_DIGITS = 40
DRAIN_BYTES = 32_000_000
DRAIN_SECONDS = 5.0
UNTAKEN = "control characters, lone surrogates or text direction overrides"
TOO_LATE = "The rest of the request did not arrive in time."


class Body:
    """The body of one request as it comes: at most `limit` bytes, no long silence, and not slower than is bearable."""

    def __init__(self, request: Request, settings: Settings, limit: int, too_large: str) -> None:
        self.request, self.limit, self.too_large = request, limit, too_large
        self.complete = False
        self._settings = settings
        self._began, self.received = time.monotonic(), 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the pieces; 413 beyond the limit, 415 for a compressed body, 408 when nothing comes any more."""
        if self.request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedBody("Send the body without Content-Encoding.", code="unsupported_encoding")
        if self.declared > self.limit:
            raise self._too_large()
        while not self.complete:
            chunk = await self._next()
            if self.received > self.limit:
                raise self._too_large()
            yield chunk

    async def drain(self) -> None:
        """Swallow what is still being sent, for a while: a client that is reset now never reads the answer."""
        count = 0
        with suppress(TimeoutError, ClientDisconnect, HTTPException):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.complete and count < DRAIN_BYTES:
                    count += len(await self._next())

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._patience()):
                message = await self.request.receive()
        except TimeoutError:
            raise HTTPException(408, TOO_LATE, {"Connection": "close"}) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self.complete = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        self.received += len(body)
        return body

    def _patience(self) -> float:
        """Seconds to wait for the next piece: what came buys time, so that a byte now and then does not."""
        silence = self._settings.body_silence_seconds
        bought = silence + self.received / self._settings.min_body_rate
        return min(silence, self._began + bought - time.monotonic())

    @property
    def declared(self) -> int:
        """Return how long the body is said to be, 0 where nothing is said."""
        declared = self.request.headers.get("content-length", "")
        return int(declared[:18]) if declared.isdecimal() else 0

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(self.too_large, code="too_large")


async def read_json(request: Request, settings: Settings) -> object:
    """Return the JSON value of the body, or raise InvalidInput, BodyTooLarge or UnsupportedBody."""
    body = Body(request, settings, MAX_JSON_BYTES, f"A JSON body is limited to {MAX_JSON_BYTES:,} bytes.")
    try:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            raise UnsupportedBody("Send JSON with the header Content-Type: application/json.", code="unsupported_media")
        return parse_json(b"".join([chunk async for chunk in body.chunks()]))
    except (BodyTooLarge, UnsupportedBody):
        await body.drain()
        raise


async def read_optional_json(request: Request, settings: Settings) -> object:
    """Do the same for a body that may be left out, which then is an empty object."""
    if "transfer-encoding" not in request.headers and request.headers.get("content-length", "0") == "0":
        return {}
    return await read_json(request, settings)


def parse_json(body: bytes) -> object:
    """Parse JSON and refuse what parsers let through: NaN, 1e400, repeated keys, control characters, surrogates."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_constant=lambda _: _refuse("NaN and Infinity are not JSON numbers"),
            parse_float=_finite_number,
            parse_int=_bounded_integer,
            object_pairs_hook=_object_with_unique_keys,
        )
    except UnicodeDecodeError:
        _refuse("it is not UTF-8")
    except RecursionError:
        _refuse(f"it is nested deeper than {MAX_DEPTH} levels")
    except json.JSONDecodeError as error:
        _refuse(f"{error.msg} at line {error.lineno}, column {error.colno}")
    _check_depth_and_texts(value)
    return value


def clean_text(text: str) -> bool:
    """Say whether every store and terminal can hold `text`: no control characters, surrogates or bidi overrides."""
    return UNCLEAN.search(text.replace("\r", "")) is None


def _refuse(reason: str) -> NoReturn:
    raise InvalidInput(f"The body could not be read as JSON: {reason}.", code="invalid_json")


def _finite_number(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse("a number in it is too large")


def _bounded_integer(digits: str) -> int:
    return int(digits) if len(digits) <= MAX_DIGITS else _refuse("an integer in it is too long")


def _object_with_unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) == len(pairs):
        return unique
    twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    return _refuse(f"an object in it has the same key twice: {shown_key(twice)}")


def _check_depth_and_texts(value: object) -> None:
    pending: list[tuple[object, tuple[str, ...]]] = [(value, ())]
    while pending:
        item, path = pending.pop()
        if len(path) >= MAX_DEPTH:
            _refuse(f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, str) and not clean_text(item):
            _refuse(f"{'.'.join(map(shown_key, path)) or 'it'} holds {UNTAKEN}")
        if isinstance(item, dict):
            if not all(map(clean_text, item)):
                _refuse(f"a key in {'.'.join(map(shown_key, path)) or 'it'} holds {UNTAKEN}")
            pending.extend((part, (*path, key)) for key, part in item.items())
        elif isinstance(item, list):
            pending.extend((part, (*path, str(place))) for place, part in enumerate(item))
