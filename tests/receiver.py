"""A receiver of webhooks on a real socket: keeps what it is sent, and answers as it is told to."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LONG_SECONDS = 60.0


@dataclass(frozen=True)
class Arrived:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Answers 200, or what comes first in `script`: a status, or the name of a way to misbehave."""

    port: int = 0
    arrived: list[Arrived] = field(default_factory=list)
    script: deque[int | str] = field(default_factory=deque)
    location: str = ""
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?to=me"

    def ids(self) -> list[str]:
        return [one.headers["webhook-id"] for one in self.arrived]


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.arrived.append(Arrived(self.path, headers, body))
            told = receiver.script.popleft() if receiver.script else 200
            with suppress(OSError):
                answer(self, receiver, told)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, receiver: Receiver, told: int | str) -> None:
    if isinstance(told, int):
        handler.send_response(told)
        if 300 <= told < 400:
            handler.send_header("Location", receiver.location)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")
    elif told == "close":
        # with this option the connection is reset, as by a process that was killed
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
    elif told == "silence":
        receiver.ending.wait(LONG_SECONDS)
    elif told == "drip":
        drip(handler, receiver, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000)
    elif told == "drip the body":
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        drip(handler, receiver, b"b" * 10_000)
    elif told == "flood":
        flood(handler, receiver, b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    elif told == "flood the head":
        flood(handler, receiver, b"HTTP/1.1 200 OK\r\nX-Large: ")


def drip(handler: BaseHTTPRequestHandler, receiver: Receiver, content: bytes) -> None:
    for at in range(len(content)):
        handler.wfile.write(content[at : at + 1])
        if receiver.ending.wait(0.05):
            return


def flood(handler: BaseHTTPRequestHandler, receiver: Receiver, head: bytes) -> None:
    handler.wfile.write(head)
    until = time.monotonic() + LONG_SECONDS
    while time.monotonic() < until and not receiver.ending.is_set():
        handler.wfile.write(b"c" * 65_536)
