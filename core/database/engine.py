"""Connect to SQLite or PostgreSQL, with the settings that make leases and short transactions safe."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Double, Engine, Integer, create_engine, event, literal_column, select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from core.disk import PRIVATE
from core.errors import InvalidInput
from core.settings import Settings

BUSY_SECONDS = 10
# NORMAL: kill -9 loses nothing; only a power loss may take back the last commits
SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    f"busy_timeout={1000 * BUSY_SECONDS}",
    "foreign_keys=ON",
    "secure_delete=ON",  # what is deleted is overwritten; core.database.file_remains says what that leaves
)
POSTGRES_OPTIONS = "-c statement_timeout=5000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=10000"
# a server that is cut off without a word is given up within seconds, not with the kernel's patience of hours
POSTGRES_CONNECTION = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
CLOCKS: dict[str, ColumnElement[float]] = {
    "sqlite": literal_column("(julianday('now') - 2440587.5) * 86400.0", Double()),
    "postgresql": literal_column("extract(epoch from clock_timestamp())", Double()),  # now() is when it all began
}
ROWS = literal_column("count(*)", Integer())  # func.count() takes longer to build than the database to answer
OPTIONS = {
    "pool_size": 16,
    "max_overflow": 4,
    "pool_timeout": 5,
    "pool_pre_ping": True,
    "pool_recycle": 1800,
    "hide_parameters": True,  # errors would quote what people wrote
}


def connect(source: Settings | str) -> Engine:
    """Open an engine for the URL or the settings' one; a SQLite file's folder is made."""
    url = make_url(source.database if isinstance(source, Settings) else source)
    if url.get_backend_name() == "sqlite":
        _touch(Path(str(url.database)))
        return _sqlite(create_engine(url, json_serializer=to_json, connect_args={"timeout": BUSY_SECONDS}, **OPTIONS))
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise InvalidInput("The database must be SQLite or PostgreSQL.", code="invalid_database", param="database_url")
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        json_serializer=to_json,
        connect_args={"options": POSTGRES_OPTIONS, **POSTGRES_CONNECTION},
        **OPTIONS,
    )


def _touch(file: Path) -> None:
    """Make the database's file for this user alone, as those beside it are then; one that is there stays as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # whoever connects is told what is wrong
        file.touch(PRIVATE, exist_ok=False)


def _sqlite(engine: Engine) -> Engine:
    turn = threading.Lock()

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        # the driver's own transaction handling defers BEGIN; we begin ourselves, below
        connection.isolation_level = None
        for pragma in SQLITE_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("read_only", False):
            connection.exec_driver_sql("BEGIN")
            return
        # SQLite lets waiting writers sleep, up to 100 ms at a time; threads of one process can take turns at once
        if "turn" not in connection.info and turn.acquire(timeout=BUSY_SECONDS):
            connection.info["turn"] = turn
        # IMMEDIATE: a read that turns into a write would fail with "database is locked" instead of waiting
        if not options.get("no_transaction", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(engine, "checkin")
    def _next(_: object, record: ConnectionPoolEntry) -> None:
        if (held := record.info.pop("turn", None)) is not None:
            held.release()

    return engine


def sessions(engine: Engine, *, read_only: bool = False) -> sessionmaker[Session]:
    """A factory of sessions; use as `with sessions(engine).begin() as session:`. Read-only ones wait for no writer."""
    options: dict[str, object] = {"read_only": read_only}
    if read_only and engine.dialect.name == "postgresql":
        options["isolation_level"] = "AUTOCOMMIT"  # every statement sees its own moment anyway; saves BEGIN and COMMIT
    return sessionmaker(engine.execution_options(**options), expire_on_commit=False)


@contextmanager
def looking(factory: sessionmaker[Session]) -> Iterator[Session]:
    """Open a session that only reads, of a factory whose sessions write: it waits for no writer, and none for it."""
    with factory() as session:
        session.connection(execution_options={"read_only": True})
        yield session


def now(session: Session) -> float:
    """The database's own time in unix seconds: the only clock that leases are compared with."""
    return float(session.execute(select(clock(session))).scalar_one())


def clock(session: Session) -> ColumnElement[float]:
    """The same time as a column, for a query that asks for something else too."""
    return CLOCKS[session.get_bind().dialect.name]


def to_json(value: object) -> str:
    """Write JSON as both databases take it: null for NaN and infinities, and keys as they are written."""
    # SQLite finds a key only as it is written; PostgreSQL refuses NaN, and so do most readers of our JSON
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
