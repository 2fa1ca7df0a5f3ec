"""A proxy that mistreats calls that create jobs: it loses answers, cuts calls in half, or delivers them late."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx

JOBS = "/v1/fine_tuning/jobs"
HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}


class Trouble(StrEnum):
    """What happens to one call."""

    NONE = "none"
    LOST_ANSWER = "lost answer"  # the service has done it and nobody hears of it
    BAD_GATEWAY = "bad gateway"  # the same, with an answer of the proxy's own
    HALF_A_CALL = "half a call"  # the connection ends in the middle of the body
    LATE_CALL = "late call"  # the client is cut off, and the service sees the call after the next one


@dataclass
class Proxy:
    """Its address, what it does to the next calls, and how many there were."""

    upstream: str
    address: str = ""
    plan: list[Trouble] = field(default_factory=list)
    sent: list[dict[str, str]] = field(default_factory=list)  # the headers of every call that creates
    late: list[httpx.Response] = field(default_factory=list)
    waiting: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def next(self, headers: dict[str, str]) -> Trouble:
        """Note a call; returns what is to happen to it."""
        self.sent.append(headers)
        return self.plan.pop(0) if self.plan else Trouble.NONE

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        """Send a call on."""
        plain = {name: value for name, value in headers.items() if name.lower() != "accept-encoding"}
        plain["accept-encoding"] = "identity"  # what is sent back is the body as it came, with its own headers
        return httpx.request(method, self.upstream + path, headers=plain, content=body, timeout=30, verify=False)

    def deliver(self) -> None:
        """Send on what was kept back."""
        while self.waiting:
            self.late.append(self.forward("POST", *self.waiting.pop()))

    def half(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Send half of a call and end the connection."""
        address = urlsplit(self.upstream)
        lines = [f"POST {path} HTTP/1.1", f"Host: {address.netloc}", f"Content-Length: {len(body)}"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(head.encode() + body[: len(body) // 2])


@contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """Run a proxy before the service at this address."""
    proxy = Proxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        creates = self.command == "POST" and self.path == JOBS
        trouble = self.proxy.next(dict(self.headers.items())) if creates else Trouble.NONE
        if trouble is Trouble.LATE_CALL:
            self.proxy.waiting.append((self.path, headers, body))
        elif trouble is Trouble.HALF_A_CALL:
            self.proxy.half(self.path, headers, body)
        else:
            answer = self.proxy.forward(self.command, self.path, headers, body)
            self.proxy.deliver()
            if trouble is Trouble.NONE:
                self._answer(answer.status_code, dict(answer.headers), answer.content)
                return
            if trouble is Trouble.BAD_GATEWAY:
                self._answer(502, {}, b"")
                return
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_DELETE = _pass

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass
