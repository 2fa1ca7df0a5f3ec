"""Connections that keep their promises, one clock, JSON that both databases read, and migrations up and down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import CheckConstraint, Engine, inspect, select, text
from sqlalchemy.exc import OperationalError

from core.database.engine import connect, now, sessions
from core.database.migrations import migrate
from core.database.tables import Job, Table
from core.disk import ROOT
from core.errors import InvalidInput
from core.jobs import reports
from core.settings import Settings
from tests.core.ledger import Sessions, finish, get, queued, running


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_an_empty_database_gets_all_tables_and_gives_them_back(engine: Engine, database_url: str) -> None:
    migrate(database_url)
    assert tables(engine) == {*Table.metadata.tables, "alembic_version"}
    migrate(database_url, "base")
    assert tables(engine) == {"alembic_version"}
    migrate(database_url)
    assert tables(engine) == {*Table.metadata.tables, "alembic_version"}


def test_migrating_again_keeps_the_rows(database: Sessions, database_url: str) -> None:
    held = running(database)
    with database.begin() as session:
        reports.add_metrics(session, held, "train", [{"step": 1, "loss": 0.5}])
        finish(session, held)
    migrate(database_url)
    assert get(database, held.job_id).state == "SUCCEEDED"


def test_migrating_down_with_rows_leaves_no_table(database: Sessions, engine: Engine, database_url: str) -> None:
    held = running(database)
    with database.begin() as session:
        finish(session, held)
    migrate(database_url, "base")
    assert tables(engine) == {"alembic_version"}


def test_the_migrations_make_exactly_the_models_tables(database: Sessions, database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["url"] = database_url
    command.check(config)  # raises where a model has moved on


def test_the_migrations_make_the_models_checks(database: Sessions, engine: Engine) -> None:
    """Alembic's own check does not compare CHECK constraints."""
    made = {check["name"] for check in inspect(engine).get_check_constraints("job")}
    named = {each.name for each in Table.metadata.tables["job"].constraints if isinstance(each, CheckConstraint)}
    assert made == named
    assert len(named) == 6


def test_processes_that_migrate_at_once_wait_for_each_other(engine: Engine, database_url: str) -> None:
    with ThreadPoolExecutor(1) as pool, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(4160751)"))
        other = pool.submit(migrate, database_url)
        time.sleep(3)  # longer than a query may usually wait for a lock
        assert not other.done()
        connection.rollback()
        other.result(30)
    assert "job" in tables(engine)


def test_the_clock_is_the_databases_and_goes_on_within_a_transaction(database: Sessions) -> None:
    with database() as session:
        before, first, after = time.time(), now(session), time.time()
        assert before - 1 < first < after + 1
        time.sleep(0.02)
        assert now(session) > first


def test_a_second_writer_waits_instead_of_failing(database: Sessions) -> None:
    job_id = queued(database)

    def bump() -> None:
        with database.begin() as session:
            job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one()
            time.sleep(0.02)
            job.priority += 1

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(bump) for _ in range(16)]:
            done.result()
    assert get(database, job_id).priority == 16


def test_a_reader_waits_for_no_writer(database: Sessions, engine: Engine) -> None:
    queued(database)
    with database.begin() as writing:
        writing.execute(text("UPDATE job SET priority = 7"))
        with sessions(engine, read_only=True)() as reading:
            assert reading.scalars(select(Job.priority)).one() == 0


def test_json_is_the_same_on_both_databases(database: Sessions) -> None:
    value = {"é": [float("nan"), float("inf"), 0.5, ("a", None)], "nul": "\0", "lie": True}
    job_id = queued(database, request=value, user_metadata={"ключ": "wert"}, parameters=None)
    job = get(database, job_id)
    assert job.request == {"é": [None, None, 0.5, ["a", None]], "nul": "\0", "lie": True}
    with database() as session:
        assert session.scalars(select(Job.id).where(Job.user_metadata["ключ"].as_string() == "wert")).one() == job_id
        assert session.scalars(select(Job.id).where(Job.parameters.is_(None))).one() == job_id


def test_a_database_of_another_kind_is_refused_in_words() -> None:
    with pytest.raises(InvalidInput, match="SQLite or PostgreSQL"):
        connect("oracle://x/y")


def test_the_default_is_a_file_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "not yet there")
    migrate(settings.database)
    assert (tmp_path / "not yet there/albatross.db").is_file()


def test_a_database_that_is_away_is_an_operational_error() -> None:
    engine = connect("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(OperationalError):
        engine.connect()


def test_writers_of_one_process_take_turns_and_a_failed_one_gives_its_turn_back(database_url: str) -> None:
    engine = connect(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE tally (n INTEGER)"))

    def write(number: int) -> None:
        with suppress(RuntimeError), sessions(engine).begin() as session:
            session.execute(text("INSERT INTO tally VALUES (:n)"), {"n": number})
            if number % 3 == 0:
                raise RuntimeError

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(60)))
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM tally")) == 40
    engine.dispose()
