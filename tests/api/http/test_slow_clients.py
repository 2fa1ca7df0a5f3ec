"""Clients that take their time: a body must go on coming, and not by the byte."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from core.settings import Settings
from tests.api.server import Service, chats, started
from tests.conftest import until

PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    yield from started(Settings(data=folder, body_silence_seconds=0.6, min_body_rate=1_000))


def connected(service: Service, path: str, kind: str, length: int) -> socket.socket:
    host, port = service.address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key()}\r\nContent-Type: {kind}\r\n"
    connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
    return connection


def answered(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except TimeoutError:
        return False
    finally:
        connection.settimeout(20)


def drip(connection: socket.socket, piece: bytes) -> bytes:
    """Send a piece five times a second until there is an answer."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        connection.sendall(piece)
        if answered(connection):
            return connection.recv(4096)
    raise AssertionError("the service waits for ever")


def left_behind(service: Service) -> list[str]:
    return [path.name for path in (service.settings.data / "uploads").glob("*/*/*")]


def test_an_upload_that_comes_by_the_byte_is_given_up_and_nothing_of_it_is_kept(impatient: Service) -> None:
    with connected(impatient, "/v1/files", "multipart/form-data; boundary=x", 1_000_000) as connection:
        connection.sendall(PART)
        until(lambda: len(left_behind(impatient)) == 1, 10)
        assert drip(connection, b"a").startswith(b"HTTP/1.1 408")
    assert left_behind(impatient) == []


def test_json_that_comes_by_the_byte_is_given_up(impatient: Service) -> None:
    with connected(impatient, "/v1/fine_tuning/jobs", "application/json", 100_000) as connection:
        assert drip(connection, b" ").startswith(b"HTTP/1.1 408")


def test_half_an_upload_and_then_silence_is_given_up(impatient: Service) -> None:
    with connected(impatient, "/v1/files", "multipart/form-data; boundary=x", 1_000_000) as connection:
        connection.sendall(PART + b"a" * 500_000)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 408")  # to the end: the connection is closed
    assert left_behind(impatient) == []


def test_an_upload_that_comes_slowly_but_steadily_is_taken(impatient: Service) -> None:
    purpose = b'\r\n--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--x--\r\n'
    pieces = [PART, *(chats(200)[n : n + 1_000] for n in range(0, len(chats(200)), 1_000)), purpose]
    length = sum(map(len, pieces))
    with connected(impatient, "/v1/files", "multipart/form-data; boundary=x", length) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.1)
        assert len(pieces) * 0.1 > impatient.settings.body_silence_seconds
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
