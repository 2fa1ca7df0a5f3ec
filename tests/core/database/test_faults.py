"""A database that is away is told from a statement that it cannot take, on the real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from core.database import faults
from core.database.engine import connect


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


def run(engine: Engine, statements: Sequence[str], values: tuple[int, ...] | None = None) -> None:
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, values)


def failed(engine: Engine, *statements: str, values: tuple[int, ...] | None = None) -> DBAPIError:
    with pytest.raises(DBAPIError) as failure:
        run(engine, statements, values)
    return failure.value


def test_a_statement_that_is_too_deep_or_too_long_is_not_taken_for_a_database_that_is_away(engine: Engine) -> None:
    deep = f"SELECT {'NOT (' * 20_000} TRUE {')' * 20_000}"
    mark, count = ("?", 400_000) if engine.dialect.name == "sqlite" else ("%s", 70_000)
    wide = f"SELECT 1 WHERE 1 IN ({', '.join([mark] * count)})"
    assert not faults.away(failed(engine, deep))
    assert not faults.away(failed(engine, wide, values=tuple(range(count))))
    assert not faults.away(failed(engine, "SELECT nothing FROM nowhere"))


def test_a_lock_that_is_held_is_one(engine: Engine, database_url: str) -> None:
    with engine.begin() as holder:
        holder.execute(text("CREATE TABLE thing (id INTEGER)"))
    with engine.begin() as holder:
        holder.execute(text("INSERT INTO thing VALUES (1)"))
        if engine.dialect.name == "sqlite":
            error = failed(create_engine(database_url, connect_args={"timeout": 0}), "INSERT INTO thing VALUES (2)")
        else:
            error = failed(engine, "SET LOCAL lock_timeout = 1", "LOCK TABLE thing IN ACCESS EXCLUSIVE MODE")
    assert faults.away(error)
    assert not faults.disk_full(error)


def test_a_database_that_cannot_be_reached_is_away(tmp_path: Path) -> None:
    assert faults.away(failed(create_engine(f"sqlite:///{tmp_path}"), "SELECT 1"))
    assert faults.away(failed(create_engine("postgresql+psycopg://nobody@127.0.0.1:9/none"), "SELECT 1"))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_is_cut_and_a_statement_that_takes_too_long_are_too(engine: Engine) -> None:
    assert faults.away(failed(engine, "SELECT pg_terminate_backend(pg_backend_pid())"))
    assert faults.away(failed(engine, "SET LOCAL statement_timeout = 1", "SELECT pg_sleep(9)"))


def test_a_full_disk_is_called_that(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/small.db")
    statements = ["PRAGMA max_page_count = 3", "CREATE TABLE t (b BLOB)", "INSERT INTO t VALUES (zeroblob(99999))"]
    error = failed(engine, *statements)
    assert faults.away(error)
    assert faults.disk_full(error)
