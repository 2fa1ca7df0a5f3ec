"""How many requests a second the API answers, and how fast: SQLite and PostgreSQL, 1,000 queued jobs to begin with.

Server, database and clients share the machine, so on two cores the clients take a good part of what they measure.
What one answer costs the API in processor time is printed too: it depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.service import Service, api, broker, postgresql
from core.accounts import api_keys
from core.database.engine import connect, now, sessions
from core.database.tables import ApiKey, File, Job
from core.jobs import creation
from core.settings import Settings

ACCOUNTS, JOBS = 50, 1_000
CLIENTS, CONNECTIONS = 2, 8  # processes, and connections of each
MAX_P99_MS = 200.0
GOALS = {"sqlite": {"get": 600.0, "post": 400.0}, "postgresql": {"get": 300.0, "post": 250.0}}
MIXED = ("get",) * 16 + ("list",) * 3 + ("post",)
KINDS: dict[str, tuple[str, ...]] = {"get": ("get",), "post": ("post",), "mixed": MIXED}


@dataclass(frozen=True)
class Owner:
    """One account: its key, a file to train on, and some of its jobs."""

    key: str
    file: str
    jobs: list[str]

    def request(self, kind: str) -> bytes:
        """Return a whole request of the kind."""
        path, method, body = "/v1/fine_tuning/jobs", "GET", b""
        if kind == "get":
            path = f"{path}/{random.choice(self.jobs)}"
        elif kind == "post":
            method, body = "POST", json.dumps({"model": "tiny", "training_file": self.file, "seed": 1}).encode()
        typed = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.key}\r\n{typed}\r\n"
        return head.encode() + body


@dataclass(frozen=True)
class Result:
    """What the clients have seen: milliseconds of each answer, and how many were not 200."""

    taken: list[float]
    errors: int
    seconds: float
    cpu_seconds: float  # of the API process

    def quantile(self, share: float) -> float:
        return self.taken[min(len(self.taken) - 1, int(share * len(self.taken)))]

    @property
    def rate(self) -> float:
        return len(self.taken) / self.seconds


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it is answered; reads no more of an answer than it must."""

    def __init__(self, requests: Iterator[bytes], deadline: float) -> None:
        self._requests, self._deadline = requests, deadline
        self._buffer = bytearray()
        self.taken: list[float] = []
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self._buffer) < end + 4 + length:
            return
        self.taken.append(1000 * (time.perf_counter() - self._began))
        self.errors += not head.startswith(b"http/1.1 200")
        self._buffer.clear()
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.errors += 1
            self.done.set_result(None)

    def _ask(self) -> None:
        self._began = time.perf_counter()
        if self._began > self._deadline:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(next(self._requests))


def drive(port: int, owners: list[Owner], kinds: tuple[str, ...], seconds: float) -> tuple[list[float], int]:
    """Ask from several connections for some seconds; runs in a process of its own."""
    return asyncio.run(_drive(port, owners, kinds, seconds))


async def _drive(port: int, owners: list[Owner], kinds: tuple[str, ...], seconds: float) -> tuple[list[float], int]:
    asked = (random.choice(owners).request(random.choice(kinds)) for _ in itertools.count())
    deadline, loop = time.perf_counter() + seconds, asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Client(asked, deadline), "127.0.0.1", port) for _ in range(CONNECTIONS)
    ]
    clients = [client for _, client in made]
    await asyncio.gather(*(client.done for client in clients))
    return list(itertools.chain.from_iterable(client.taken for client in clients)), sum(c.errors for c in clients)


def fill(settings: Settings) -> list[Owner]:
    """Make accounts with a file and queued jobs each."""
    engine = connect(settings.database)
    owners = []
    for number in range(ACCOUNTS):
        with sessions(engine).begin() as session:
            key = api_keys.create(session, f"owner {number}")
            session.flush()
            account, at = session.get_one(ApiKey, key.split("_")[1]).account_id, now(session)
            file = File(
                account_id=account,
                filename="a.jsonl",
                purpose="fine-tune",
                bytes=1,
                sha256="",
                storage_key="a",
                status="processed",
                kind="texts",
                items=8,
                findings=[],
                created_at=at,
            )
            session.add(file)
            session.flush()
            made = [_job(account, file.id, settings.queue) for _ in range(JOBS // ACCOUNTS)]
            for job in made:
                creation.create(session, job, settings)
        owners.append(Owner(key, file.id, [job.id for job in made]))
    engine.dispose()
    return owners


def _job(account: str, file: str, queue: str) -> Job:
    request = {"model": "tiny", "training_file": file}
    return Job(account_id=account, backbone="tiny", request=request, training_files=[file], seed=1, queue=queue)


def measure(service: Service, owners: list[Owner], kind: str, seconds: float) -> Result:
    """Drive the service from processes of their own."""
    with multiprocessing.get_context("spawn").Pool(CLIENTS) as pool:
        pool.starmap(drive, [(service.port, owners, KINDS[kind], 1.0)] * CLIENTS)  # processes and caches get warm
        began = service.cpu()
        came = pool.starmap(drive, [(service.port, owners, KINDS[kind], seconds)] * CLIENTS)
    taken = sorted(itertools.chain.from_iterable(times for times, _ in came))
    return Result(taken, sum(errors for _, errors in came), seconds, service.cpu() - began)


def row(database: str, kind: str, result: Result, before: float, after: float) -> bool:
    """Print one row; False where a goal is missed."""
    goal = GOALS[database].get(kind, 0.0)
    good = result.rate >= goal and result.quantile(0.99) <= MAX_P99_MS and result.errors == 0
    print(
        f"{database:<11} {kind:<6} {result.rate:5.0f}/s  p50 {result.quantile(0.5):5.1f} ms  "
        f"p99 {result.quantile(0.99):5.1f} ms  CPU {1000 * result.cpu_seconds / len(result.taken):.2f} ms each  "
        f"errors {result.errors}  RSS {before:.0f} -> {after:.0f} MB  "
        f"{'' if good else f'goal: {goal:.0f}/s, {MAX_P99_MS:.0f} ms, no errors'}",
        flush=True,
    )
    return good


def main() -> int:
    """Measure every kind on every database; the exit status says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    good = True
    servers: dict[str, Callable[[Path, ExitStack], str | None]] = {
        "sqlite": lambda folder, stack: None,
        "postgresql": lambda folder, stack: stack.enter_context(postgresql(folder / "postgresql")),
    }
    print(f"{CLIENTS * CONNECTIONS} connections from {CLIENTS} processes, {JOBS} queued jobs of {ACCOUNTS} accounts")
    for database in arguments.databases:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder.chmod(0o755)  # PostgreSQL may run as another user
            settings = Settings(
                data=folder / "data",
                database_url=servers[database](folder, stack),
                active_job_limit=10**6,
                jobs_per_minute=10**6,
                requests_per_minute=0,
                broker_url=stack.enter_context(broker(folder)),
            )
            service = stack.enter_context(api(settings))
            owners = fill(settings)
            for kind in arguments.kinds:
                before = service.memory()
                result = measure(service, owners, kind, arguments.seconds)
                good = row(database, kind, result, before, service.memory()) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
