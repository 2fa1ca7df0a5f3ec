"""An upload has its room before it is written, of the quota and of the disk, whether it says its length or not."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, update

from core.database import invariants
from core.database.engine import now
from core.database.tables import Account, File, Reservation
from core.settings import Settings
from tests.api.server import Service, chats, refused, started

PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
PURPOSE = b'\r\n--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--x--\r\n'
PIECE = 1_000_000


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], scope="module")
def tight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose accounts may store three megabytes."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql").fresh()
    settings = Settings(data=tmp_path_factory.mktemp("service"), database_url=url, account_bytes=3_000_000)
    yield from started(settings)


@contextmanager
def uploading(service: Service, account: str = "alice") -> Iterator[socket.socket]:
    """An upload in chunks that does not say how long it is, after its first headers."""
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = (
            f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key(account)}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        send(connection, PART)
        yield connection


def send(connection: socket.socket, content: bytes) -> None:
    connection.sendall(f"{len(content):x}\r\n".encode() + content + b"\r\n")


def finish(connection: socket.socket) -> tuple[int, dict[str, dict[str, str]]]:
    send(connection, PURPOSE)
    connection.sendall(b"0\r\n\r\n")
    return answer(connection)


def answer(connection: socket.socket) -> tuple[int, dict[str, dict[str, str]]]:
    """Read one answer: its status and its body."""
    content = b""
    while b"\r\n\r\n" not in content:
        content += _some(connection)
    head, _, body = content.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(lines[b"content-length"]):
        body += _some(connection)
    return int(head.split()[1]), json.loads(body)


def _some(connection: socket.socket) -> bytes:
    some = connection.recv(65_536)
    assert some, "the connection ended without an answer"
    return some


def test_chunks_over_the_quota_end_at_the_quota_and_not_with_the_disk(tight: Service) -> None:
    with uploading(tight) as connection:
        for _ in range(8):
            send(connection, bytes(PIECE))
        status, body = finish(connection)
    assert (status, body["error"]["code"]) == (429, "insufficient_quota")
    assert "3,000,000 are in use" in body["error"]["message"]
    until(lambda: kept(tight) == [] and aside(tight) == 0)


def test_an_upload_that_says_its_length_has_all_of_it_set_aside_and_gives_it_back(tight: Service) -> None:
    host, port = tight.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tight.key()}\r\n"
        kind = "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 2500000\r\n\r\n"
        connection.sendall((head + kind).encode() + PART)
        until(lambda: aside(tight) == 2_500_000)
        with tight.http() as http:
            answer = http.post("/v1/files", files={"file": ("a.txt", bytes(800_000))}, data={"purpose": "fine-tune"})
        error = refused(answer, 429, "insufficient_quota")
        assert "2,500,000 are set aside" in error["message"]
        assert answer.headers["x-should-retry"] == "false"
    until(lambda: aside(tight) == 0)  # its client is gone


def test_chunks_at_once_can_not_take_the_same_room_twice(tight: Service) -> None:
    def go(number: int) -> int:
        with uploading(tight, "bob") as connection:
            for _ in range(2):
                send(connection, bytes(PIECE))
            until(lambda: aside(tight, "bob") >= 2 * PIECE or number > 0)
            return finish(connection)[0]

    tight.key("bob")
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(go, range(4)))
    assert set(codes) <= {400, 429}  # zeros are no text; what had its room was read
    assert 429 in codes
    until(lambda: aside(tight, "bob") == 0)
    assert consistent(tight)


def test_small_chunks_of_many_fit_side_by_side(tight: Service) -> None:
    def go(number: int) -> int:
        with uploading(tight, "carol") as connection:
            send(connection, chats(4 + number))
            time.sleep(0.05)
            return finish(connection)[0]

    tight.key("carol")
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(go, range(12))) == {200}
    with tight.sessions() as session:
        rows = session.scalars(select(File).join(Account).where(Account.name == "carol")).all()
        account = session.scalars(select(Account).where(Account.name == "carol")).one()
        assert account.stored_bytes == sum(row.bytes for row in rows) > 0
    assert consistent(tight)


def test_what_a_killed_process_had_set_aside_counts_no_more_when_its_time_is_over(tight: Service) -> None:
    tight.key("dave")
    with tight.sessions.begin() as session:
        dave = session.scalars(select(Account).where(Account.name == "dave")).one()
        session.add(Reservation(account_id=dave.id, id="room-dead", bytes=3_000_000, until=now(session) + 60))
    with tight.http("dave") as http:
        files = {"file": ("a.jsonl", chats())}
        refused(http.post("/v1/files", files=files, data={"purpose": "fine-tune"}), 429, "insufficient_quota")
        with tight.sessions.begin() as session:
            session.execute(update(Reservation).where(Reservation.id == "room-dead").values(until=now(session) - 1))
        assert http.post("/v1/files", files=files, data={"purpose": "fine-tune"}).status_code == 200


def test_an_upload_never_takes_what_workers_need_of_the_disk(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    for service in started(Settings(data=tmp_path, min_free_bytes=free)):
        with service.http() as http:
            answer = http.post("/v1/files", files={"file": ("a.jsonl", chats())}, data={"purpose": "fine-tune"})
            error = refused(answer, 503, "disk_full")
            assert "no room" in error["message"]
            assert int(answer.headers["Retry-After"]) >= 10
        with uploading(service) as connection:
            send(connection, chats())
            status, body = finish(connection)
        assert (status, body["error"]["code"]) == (503, "disk_full")
        assert kept(service) == []
        assert aside(service) == 0
        with service.http() as http:
            assert http.get("/v1/files").status_code == 200  # for uploads only


def kept(service: Service) -> list[str]:
    return [path.name for path in (service.settings.data / "uploads").rglob("*") if path.is_file()]


def aside(service: Service, account: str = "alice") -> int:
    with service.sessions() as session:
        mine = select(Reservation.bytes).join(Account).where(Account.name == account)
        return sum(session.scalars(mine))


def consistent(service: Service) -> bool:
    with service.sessions() as session:
        return invariants.miscounted(session) == []


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
