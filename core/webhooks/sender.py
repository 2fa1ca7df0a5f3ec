"""One POST to an address that a stranger has named: looked up once, checked, connected to, and given little time.

What the host's name resolves to is checked, and then connected to, without asking a second time: a name that changes
its address in between changes nothing. TLS is verified against the name. Redirects are not followed, proxies are not
used, and of an answer only the status is read.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore
import httpx

from core.errors import InvalidInput
from core.webhooks.destinations import Refused, Resolve, Rules, Target, addresses_of, lookup

MAX_BYTES = 65_536  # that are read of an answer, its head included
LINGER_SECONDS = 1.0  # for the rest of a short answer, so that its sender sees an orderly end


@dataclass(frozen=True)
class Answer:
    """The status that came back, or a word for why none did: refused_url, refused_address, unresolvable,
    connect_failed, tls_failed, timeout, no_answer or secret_unreadable."""

    status_code: int | None
    error: str | None
    seconds: float

    @property
    def taken(self) -> bool:
        """Whether the receiver has said that it has it."""
        return self.status_code is not None and 200 <= self.status_code < 300


class Sender:
    """Sends requests under the rules; each takes at most `seconds`."""

    def __init__(
        self, rules: Rules, seconds: float, *, resolve: Resolve = lookup, tls: ssl.SSLContext | None = None
    ) -> None:
        self.rules, self.resolve = rules, resolve
        self._seconds, self._tls = seconds, tls

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send the request; never raises for what the other side does."""
        began = time.monotonic()
        status, error = None, None
        try:
            status = self._post(self.rules.read(url), headers, body, Budget(began + self._seconds))
        except InvalidInput:  # what the operator allows has changed since it was named
            error = "refused_url"
        except Refused as refused:
            error = refused.code
        except (httpcore.TimeoutException, TimeoutError):
            error = "timeout"
        except httpcore.ConnectError:
            error = "connect_failed"
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
            error = "no_answer"
        return Answer(status, error, time.monotonic() - began)

    def _post(self, target: Target, headers: Mapping[str, str], body: bytes, limit: Budget) -> int:
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        given = {"Host": target.authority, "Connection": "close", "Content-Length": str(len(body)), **headers}
        backend = PinnedBackend(target, self.rules, self.resolve, limit)
        with (
            httpcore.ConnectionPool(ssl_context=self._tls or _tls(), network_backend=backend, retries=0) as pool,
            pool.stream("POST", url, headers=list(given.items()), content=body) as answer,
        ):
            limit.hurry(LINGER_SECONDS)
            with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
                for _ in answer.iter_stream():
                    pass
            return answer.status


class Budget:
    """What is left of the time and of the bytes of one request."""

    def __init__(self, until: float) -> None:
        self._until, self._bytes = until, MAX_BYTES

    def seconds(self) -> float:
        """Return what is left; raises ReadTimeout when nothing is."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left

    def hurry(self, seconds: float) -> None:
        """Leave at most so many seconds."""
        self._until = min(self._until, time.monotonic() + seconds)

    def count(self, amount: int) -> None:
        """Note bytes that were read; raises ReadError when they are too many."""
        self._bytes -= amount
        if self._bytes < 0:
            raise httpcore.ReadError


class PinnedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, and to nothing else."""

    def __init__(self, target: Target, rules: Rules, resolve: Resolve, limit: Budget) -> None:
        self._target, self._rules, self._resolve, self._limit = target, rules, resolve, limit
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve the host, check every address, and connect to the first that answers."""
        try:
            found = addresses_of(self._target.host, self._resolve, self._limit.seconds())
        except TimeoutError:
            raise
        except OSError:
            raise Refused("unresolvable") from None
        addresses = self._rules.admit(self._target, found)
        for left in range(len(addresses), 0, -1):
            address = str(addresses[-left])
            try:
                share = self._limit.seconds() / left
                return Stream(self._inner.connect_tcp(address, self._target.port, timeout=share), self._limit)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise Refused("unresolvable")


class Stream(httpcore.NetworkStream):
    """A connection whose every step gets only the time that is left of the whole."""

    def __init__(self, inner: httpcore.NetworkStream, limit: Budget) -> None:
        self._inner, self._limit = inner, limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what there is."""
        data = self._inner.read(min(max_bytes, MAX_BYTES), self._limit.seconds())
        self._limit.count(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all."""
        self._inner.write(buffer, self._limit.seconds())

    def close(self) -> None:
        """End the connection."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Begin TLS, verified against the name that the URL has."""
        try:
            return Stream(self._inner.start_tls(ssl_context, server_hostname, self._limit.seconds()), self._limit)
        except httpcore.ConnectError:
            raise Refused("tls_failed") from None

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore asks of a connection."""
        return self._inner.get_extra_info(info)


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # the authorities of certifi, or those that SSL_CERT_FILE names
