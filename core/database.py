"""Connect to SQLite or PostgreSQL, with the settings that make leases and short transactions safe."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

ROOT = Path(__file__).parent.parent
SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "foreign_keys=ON")
POSTGRES_OPTIONS = "-c statement_timeout=5000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=10000"
POOL = {"pool_size": 16, "max_overflow": 4, "pool_timeout": 5, "pool_pre_ping": True, "pool_recycle": 1800}


def connect(url: str) -> Engine:
    """Open an engine for the URL; a SQLite file's folder is made."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        return _sqlite(url)
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        connect_args={"options": POSTGRES_OPTIONS, "connect_timeout": 5},
        json_serializer=_json,
        **POOL,
    )


def _json(value: object) -> str:
    # SQLite finds a key only as it is written, and PostgreSQL refuses NaN: both are given the same
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": 10}, json_serializer=_json, **POOL)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        # the driver's own transaction handling defers BEGIN; we begin ourselves, below
        connection.isolation_level = None
        for pragma in SQLITE_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE: a read that turns into a write would fail with "database is locked" instead of waiting
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def sessions(engine: Engine, *, read_only: bool = False) -> sessionmaker[Session]:
    """A factory of sessions; use as `with sessions(engine).begin() as session:`. Read-only ones wait for no writer."""
    return sessionmaker(engine.execution_options(read_only=read_only), expire_on_commit=False)


def now(session: Session) -> float:
    """The database's own time in unix seconds: the only clock that leases are compared with."""
    return float(session.execute(text(f"SELECT {clock(session)}")).scalar_one())


def clock(session: Session) -> str:
    """SQL for the present time in unix seconds in the session's dialect."""
    if session.get_bind().dialect.name == "sqlite":
        return "((julianday('now') - 2440587.5) * 86400.0)"
    return "extract(epoch from clock_timestamp())::double precision"


def migrate(url: str, revision: str = "head") -> None:
    """Bring the schema to a revision, up or down."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["url"] = url
    if revision == "head" or revision.startswith("+"):
        command.upgrade(config, revision)
    else:
        command.downgrade(config, revision)
