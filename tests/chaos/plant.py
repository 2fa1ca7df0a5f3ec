"""The whole service as separate processes over servers with weather: API, dispatchers and workers; and who is told."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from api.cli.serve import worker_command
from core.accounts import api_keys
from core.database.engine import connect, now, sessions
from core.database.migrations import migrate
from core.database.tables import Account, Job, JobEvent, JobState, WebhookEndpoint, Worker
from core.runtime import broker
from core.runtime.broker import make_app
from core.settings import Settings
from core.storage.factory import storage as make_storage
from core.storage.interface import Storage
from core.webhooks import endpoint_secrets, events
from tests.api.server import register
from tests.chaos import trainer
from tests.chaos.journal import Journal
from tests.chaos.process import Process
from tests.chaos.servers import Servers
from tests.conftest import s3_settings, until
from tests.receiver import receiving
from tests.worker.floor import environment
from tests.worker.floor import settings as quick_settings

DISPATCHERS, WORKERS, ACCOUNTS = 2, 3, 4
DISK_BYTES = 64_000_000


@dataclass(frozen=True)
class Size:
    """How much plant there is."""

    dispatchers: int = DISPATCHERS
    workers: int = WORKERS
    accounts: int = ACCOUNTS


class Plant:
    """Use as a context. `harness` is the direct way of the harness to the tables, without weather."""

    def __init__(self, folder: Path, kind: str, seed: int, journal: Journal, size: Size | None = None) -> None:
        self.folder, self.journal, self._size = folder, journal, size or Size()
        self.dispatchers = [f"dispatcher-{number}" for number in range(self._size.dispatchers)]
        self.workers = [f"worker-{number}" for number in range(self._size.workers)]
        self.servers = Servers(folder, kind, seed, ["api", *self.dispatchers, *self.workers])
        self.settings = self._settings()
        self.processes: dict[str, Process] = {process.name: process for process in self.servers.processes}
        self.disk_is_small = False
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._undo = ExitStack()
        self._undo.callback(self.servers.close)
        self.receiver = self._undo.enter_context(receiving())

    def __enter__(self) -> Plant:
        with self._undo:
            self._open()
            self._undo = self._undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _open(self) -> None:
        self.settings.data.mkdir(exist_ok=True)
        self._mount()
        url = self.servers.database_url()
        migrate(url)
        register(self.settings)
        engine = connect(url)
        self._undo.callback(engine.dispose)
        self.harness: sessionmaker[Session] = sessions(engine, read_only=True)
        with sessions(engine).begin() as session:
            self.keys = [api_keys.create(session, f"account-{number}") for number in range(self._size.accounts)]
            self._subscribe(session)
        direct = {"s3_endpoint": self.servers.direct_s3_endpoint, "broker_url": self.servers.direct_broker_url}
        unweathered = self.settings.model_copy(update=direct)
        self.storage: Storage = make_storage(unweathered)
        self._sender = make_app(unweathered)
        self._undo.callback(self._sender.close)
        self._furnish()
        self._keeper.start()
        self._undo.callback(self._end)
        until(lambda: self.count(Worker.id) == len(self.workers), 90)
        self.journal.say(f"the plant is up at {self.address}")

    def _subscribe(self, session: Session) -> None:
        """Let every account be told of its jobs' ends, each at a path of its own."""
        at = now(session)
        for account in session.scalars(select(Account.id)):
            session.add(
                WebhookEndpoint(
                    account_id=account,
                    name="storm",
                    url=f"http://127.0.0.1:{self.receiver.port}/{account}",
                    event_types=list(events.EventType),
                    secret=endpoint_secrets.random_secret(),
                    created_at=at,
                    updated_at=at,
                )
            )

    def _end(self) -> None:
        self._closing.set()
        self._keeper.join()
        for process in self.processes.values():
            process.kill()

    def _settings(self) -> Settings:
        base = quick_settings(self.folder / "data")
        store = s3_settings(self.servers.s3_endpoint, base.data)
        named = {name: getattr(store, name) for name in store.model_fields_set}
        own = {
            "database_url": self.servers.database_url(),
            "broker_url": self.servers.broker_url,
            "lease_seconds": 3.0,
            "heartbeat_seconds": 0.5,
            "active_job_limit": 10_000,
            "account_job_limit": 9,
            "max_crashes": 6,
            "max_retries": 8,
            "trainer": f"{sys.executable} {trainer.__file__}",
            "stall_seconds": 3.0,
            "webhook_private_networks": "127.0.0.0/8",
            "webhook_seconds": 1.0,
            "webhook_retry_seconds": 0.02,
            "sandbox": "off",  # from within one a poisoned job can't kill its worker
        }
        given = {name: getattr(base, name) for name in base.model_fields_set}
        return Settings(**(given | named | own))

    def _furnish(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._undo.callback(self._listener.close)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        python, descriptor = (sys.executable, "-m"), self._listener.fileno()
        self._add("api", (*python, "api", descriptor), (descriptor,))
        for name in self.dispatchers:
            self._add(name, (*python, "worker.dispatcher"))
        for name in self.workers:
            self._add(name, (*python, *worker_command(self.settings, name)))

    def _add(self, name: str, command: tuple[object, ...], descriptors: tuple[int, ...] = ()) -> None:
        own = environment(self.settings) | {"ALBATROSS_DATABASE_URL": self.servers.database_url(name)}
        self.processes[name] = Process(name, command, own, self.folder / f"{name}.log", descriptors)

    def _mount(self) -> None:
        """Put the job folders on a small disk of their own, which can be filled; that takes a privilege."""
        work = self.settings.data / "work"
        work.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(work)]
        self.disk_is_small = subprocess.run(command, check=False, capture_output=True).returncode == 0
        if self.disk_is_small:
            self._undo.callback(lambda: subprocess.run(["umount", work], check=False))

    def _keep(self) -> None:
        """Start again whatever has died, after a moment. All starts are of this thread: processes die with it."""
        while not self._closing.wait(0.05):
            for process in self.processes.values():
                if not process.alive and process.wanted:
                    self._tend(process)

    def _tend(self, process: Process) -> None:
        at = time.monotonic()
        if process.starts and process.died_at is None:
            status = process.process.returncode if process.process else None
            self.journal.say(f"{process.name} (process {process.pid}) ended with {status}")
            process.died_at = at
        if process.died_at is None or at - process.died_at >= process.revive_seconds:
            process.start()
            self.journal.say(f"{process.name} started as process {process.pid}")

    def holder(self, job_id: str, attempt: int) -> Process | None:
        """Return the worker that works on this attempt at a job."""
        with self.harness.begin() as session:
            job = session.get(Job, job_id)
        if job is None or (job.state, job.attempt) != (JobState.RUNNING, attempt) or job.worker_id is None:
            return None
        pid = int(job.worker_id.rpartition(":")[2])
        return next((self.processes[name] for name in self.workers if self.processes[name].pid == pid), None)

    def held_by(self, process: Process) -> list[Job]:
        """Return the jobs that a worker holds; none where the database is away."""
        mine = f"{socket.gethostname()}:{process.pid}"
        try:
            with self.harness.begin() as session:
                return list(session.scalars(select(Job).where(Job.state == JobState.RUNNING, Job.worker_id == mine)))
        except SQLAlchemyError:
            return []

    def get(self, job_id: str) -> Job:
        """Read a job."""
        with self.harness.begin() as session:
            return session.get_one(Job, job_id)

    def ended_by(self, job_id: str) -> str | None:
        """Return who has made the job's last move: its worker, the dispatcher or the API."""
        with self.harness.begin() as session:
            moves = select(JobEvent.actor).where(JobEvent.job_id == job_id, JobEvent.to_state.is_not(None))
            return session.scalar(moves.order_by(JobEvent.seq.desc()).limit(1))

    def count(self, column: object, *conditions: object) -> int:
        """Count rows; -1 where the database is away."""
        try:
            with self.harness.begin() as session:
                return len(session.scalars(select(column).where(*conditions)).all())  # type: ignore[call-overload]
        except SQLAlchemyError:
            return -1

    def wake(self) -> bool:
        """Send one wake-up by the direct way."""
        return broker.wake(self.settings.queue, self._sender)

    def writable(self) -> bool:
        """Tell whether the database takes a write at once: who is frozen in a transaction may hold SQLite's lock."""
        if self.servers.kind != "sqlite":
            return True
        path = self.servers.database_url().removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
            return True

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds; False where it did not in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.05)
        return condition()
