"""Bytes over a socket: what no HTTP library would send, and whatever comes back."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from itertools import chain
from urllib.parse import urlsplit

BOUNDARY = "the-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
PURPOSE = {"purpose": "fine-tune"}
Body = bytes | Iterable[bytes]


@dataclass(frozen=True)
class Answer:
    """What the service has said, status 0 where it hung up; `sent` is the beginning of what it was sent."""

    status: int
    headers: Message
    body: bytes
    sent: bytes = b""

    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


def connect(address: str, seconds: float = 60) -> socket.socket:
    host, port = urlsplit(address).netloc.split(":")
    return socket.create_connection((host, int(port)), timeout=seconds)


def exchange(address: str, method: str, head: bytes, body: Body = b"") -> Answer:
    """Send a request as it is; the service may answer, and hang up, before all of it is sent.

    A body of known length goes out together with its head: a server that hangs up on the head alone, while the body is
    still on its way, resets the connection, and its answer is lost with it.
    """
    pieces = iter([head + body]) if isinstance(body, bytes) else chain([head], body)
    sent = bytearray()
    with connect(address) as raw:
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                sent += piece[: len(head) + 20_000 - len(sent)]
                raw.sendall(piece)
        said = bytes(sent[len(head) :])
        try:
            return heard(raw, method, said)
        except ConnectionResetError:
            return Answer(0, Message(), b"", said)


def heard(raw: socket.socket, method: str, sent: bytes = b"") -> Answer:
    """Read one answer."""
    response = http.client.HTTPResponse(raw, method=method)
    response.begin()
    return Answer(response.status, response.headers, response.read(), sent)


def head(method: str, path: str, headers: Mapping[str, str | int] | Sequence[tuple[str, str | int]]) -> bytes:
    """Write a request line and headers, with nothing checked."""
    pairs = [("Host", "x"), ("Connection", "close"), *(headers.items() if isinstance(headers, Mapping) else headers)]
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def chunked(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """Write a body of unknown length."""
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def part(name: str, content: bytes = b"", filename: str | bytes | None = None, extra: bytes = b"") -> bytes:
    """Write one part of a form; a file name goes out as it is."""
    shown = filename.encode() if isinstance(filename, str) else filename
    tail = b"" if shown is None else b'; filename="%s"' % shown
    disposition = b'Content-Disposition: form-data; name="%s"' % name.encode()
    return b"--%s\r\n%s%s\r\n%s\r\n%s\r\n" % (BOUNDARY.encode(), disposition, tail, extra, content)


def form(content: bytes, filename: str | bytes = "file.bin", fields: Mapping[str, str] = PURPOSE) -> bytes:
    """Write an upload."""
    parts = [part(name, value.encode()) for name, value in fields.items()]
    return b"".join([*parts, part("file", content, filename), ending()])


def ending() -> bytes:
    return f"--{BOUNDARY}--\r\n".encode()
