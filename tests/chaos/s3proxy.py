"""A proxy that understands S3 as far as it must: it refuses a share of requests, tears answers, and holds one back.

A held answer is that of the last upload of a job. Its worker then stands between upload and commit for as long as the
test likes, with no help from the worker's own code.
"""

from __future__ import annotations

import http.client
import queue
import random
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LAST_UPLOAD = re.compile(r"/jobs/(ftjob-\w+)/e(\d+)/export/done\.json$")
LONGEST_HOLD = 50.0  # seconds; a client of the store waits for 60
HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length", "date", "server"}
SLOW_DOWN = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code><Message>Please reduce your rate.</Message></Error>"
)
REFUSALS = ((503, b"SlowDown"), (500, b"InternalError"))


@dataclass
class Held:
    """An upload that is stored and whose answer waits."""

    job_id: str
    attempt: int
    released: threading.Event = field(default_factory=threading.Event)


@dataclass
class Store:
    """What the harness turns: shares are of requests, from 0 to 1."""

    upstream: int
    seed: int
    refused_share: float = 0.0
    torn_share: float = 0.0
    armed: bool = False
    held: queue.Queue[Held] = field(default_factory=queue.Queue)
    counts: dict[str, int] = field(default_factory=lambda: {"requests": 0, "refused": 0, "torn": 0})

    def __post_init__(self) -> None:
        self._random, self._lock = random.Random(self.seed), threading.Lock()
        store = self

        class Bound(Handler):
            pass

        Bound.store = store
        self._server = Server(("127.0.0.1", 0), Bound)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="s3", daemon=True)
        self._thread.start()

    def count(self, name: str) -> None:
        """Add one to a counter."""
        with self._lock:
            self.counts[name] += 1

    def happens(self, share: float) -> bool:
        """Draw whether a fault of this share happens now."""
        with self._lock:
            return self._random.random() < share

    def take_held(self, path: str) -> Held | None:
        """Return what to hold back for this path: the first last upload after the harness has armed the trap."""
        match = LAST_UPLOAD.search(path)
        with self._lock:
            if match is None or not self.armed:
                return None
            self.armed = False
        return Held(match[1], int(match[2]))

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Server(ThreadingHTTPServer):
    """One thread a connection; a client that goes away is no news."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: torn connections are what this is for."""


class Handler(BaseHTTPRequestHandler):
    """Passes a request on and its answer back, unless a fault is due."""

    protocol_version = "HTTP/1.1"
    store: Store

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection("127.0.0.1", self.store.upstream, timeout=30)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.store.count("requests")
        if self.store.happens(self.store.refused_share):
            self.store.count("refused")
            self._refuse()
            return
        held = self.store.take_held(self.path) if self.command == "PUT" else None
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"expect", "connection"}}
        self._upstream.request(self.command, self.path, body or None, headers)
        answer = self._upstream.getresponse()
        content = answer.read()
        if held is not None:
            self.store.held.put(held)  # only now: who is told of it finds it stored
            held.released.wait(LONGEST_HOLD)
        self._answer(answer, content)

    def _refuse(self) -> None:
        status, code = REFUSALS[time.monotonic_ns() % 2]
        content = SLOW_DOWN % code
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _answer(self, answer: http.client.HTTPResponse, content: bytes) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_HEADERS:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None and answer.status != 204:
            self.send_header("Content-Length", length)
        torn = self.command == "GET" and len(content) > 1 and self.store.happens(self.store.torn_share)
        if torn:
            self.store.count("torn")
            content, self.close_connection = content[: len(content) // 2], True
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass
