"""A chat endpoint on this machine that answers as OpenAI's does, and limits, fails and cuts if asked to."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Body = Mapping[str, Any]


class Trouble(StrEnum):
    """What happens to one call instead of an answer, or to its answer."""

    LIMIT = "limit"  # 429, with the seconds to wait
    FAIL = "fail"  # 500
    CUT = "cut"  # the connection ends in the middle of the answer
    HTML = "html"  # a page of a proxy in between, which says that all is well


@dataclass(frozen=True)
class Said:
    """What a model says to one call."""

    content: str | None
    finish_reason: str = "stop"
    more: Mapping[str, Any] = field(default_factory=dict)  # of the message: refusal, tool_calls


class Refusal(Exception):
    """An error that the endpoint answers to one call."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": param}}


@dataclass
class ChatEndpoint:
    """What it is called, how it answers, and what it has seen."""

    model: str
    answer: Callable[[Body], Said | str]  # a text is sent as the whole body, whatever it is
    key: str | None = None
    troubles: Sequence[Trouble] = ()  # what may happen to a call
    share: float = 0.0  # of calls that meet one
    wait: float = 0.1  # seconds that a limit asks for
    seed: int = 0
    lists: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)  # by path: what else it holds
    address: str = ""
    calls: list[Body] = field(default_factory=list)
    met: Counter[Trouble] = field(default_factory=Counter)
    together: int = 0  # calls at once, at most
    _now: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(self.seed)

    def respond(self, body: Body) -> tuple[Said | str, Trouble | None]:
        """Answer a call, or raise Refusal; what troubles it is drawn."""
        with self._lock:
            self.calls.append(body)
            self._now += 1
            self.together = max(self.together, self._now)
            hit = self._random.random() < self.share
            trouble = self._random.choice(self.troubles) if hit and self.troubles else None
            if trouble:
                self.met[trouble] += 1
        try:
            if body["model"] != self.model:
                raise Refusal(404, f"The model `{body['model']}` does not exist", "model_not_found")
            if trouble is Trouble.LIMIT:
                raise Refusal(429, "Rate limit reached for requests", "rate_limit_exceeded")
            if trouble is Trouble.FAIL:
                raise Refusal(500, "The server had an error while processing your request")
            return self.answer(body), trouble
        finally:
            with self._lock:
                self._now -= 1

    def list(self, path: str) -> Sequence[Mapping[str, Any]] | None:
        """Return what a list holds; None where there is none."""
        if path == "/v1/models":
            facts = {"object": "model", "created": 0, "owned_by": "me", "shutdown_date": "2027-01-14"}
            return [{"id": self.model, **facts}]
        return self.lists.get(path)

    def completion(self, body: Body, said: Said) -> dict[str, Any]:
        """Return the answer as the wire has it; a token is four characters here."""
        asked = sum(len(str(message.get("content") or "")) for message in body["messages"]) // 4
        told = len(said.content or "") // 4
        message = {"role": "assistant", "content": said.content, "refusal": None, "annotations": [], **said.more}
        return {
            "id": f"chatcmpl-{len(self.calls)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": f"{self.model}-served",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish_reason}],
            "usage": {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told},
        }


@contextmanager
def serving(endpoint: ChatEndpoint) -> Iterator[ChatEndpoint]:
    """Serve it on loopback until the block ends; its `address` is what clients take as base URL."""
    server = _Server(("127.0.0.1", 0), _handler(endpoint))
    endpoint.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of callers that have gone: they are killed on purpose."""


def _handler(endpoint: ChatEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            rows = endpoint.list(urlsplit(self.path).path)
            if rows is None:
                return self._send(404, {"error": {"message": "Not found", "code": None, "param": None}})
            return self._send(200, {"object": "list", "data": rows, "has_more": False})

        def do_POST(self) -> None:
            if urlsplit(self.path).path != "/v1/chat/completions":
                self.close_connection = True
                return self._send(404, {"detail": "Not Found"})
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if endpoint.key and self.headers.get("Authorization") != f"Bearer {endpoint.key}":
                error = {"message": "Incorrect API key provided", "code": "invalid_api_key", "param": None}
                return self._send(401, {"error": error})
            try:
                said, trouble = endpoint.respond(body)
            except Refusal as refusal:
                return self._send(refusal.status, refusal.content)
            if trouble is Trouble.HTML:
                return self._send(200, "<html>All is well.</html>", kind="text/html")
            content = said if isinstance(said, str) else endpoint.completion(body, said)
            return self._send(200, content, cut=trouble is Trouble.CUT)

        def _send(self, status: int, content: object, *, kind: str = "application/json", cut: bool = False) -> None:
            whole = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(whole)))
            if status == 429:
                self.send_header("Retry-After-Ms", str(round(1000 * endpoint.wait)))
            self.end_headers()
            self.wfile.write(whole[: len(whole) // 2] if cut else whole)
            self.close_connection = self.close_connection or cut

        def log_message(self, *_: object) -> None: ...

    return Handler
