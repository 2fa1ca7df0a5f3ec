"""Erasures take turns, in steps that hold no lock for long: nobody's many things are in the way of another's few."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, PrimaryKeyConstraint, UniqueConstraint, event, insert, inspect, select, update
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Account, Erasure, File, Job, JobEvent, Metric, Table, Usage, WebhookEvent
from core.database.tables.jobs import JobState
from core.erasure import retention, rows
from core.erasure.retention import Tidier
from core.errors import StorageUnavailable
from core.settings import Settings
from core.storage.factory import storage as make_storage
from core.storage.interface import Storage
from core.storage.keys import job_key
from tests.core.erasure.test_eraser import ask, eraser, hits, put, upload, worked
from tests.core.ledger import Sessions, claim, queued, running

LONG = rows.LIMIT + 100  # so many steps has the curve of one job
SMALL = {"account", "erasure", "worker", "tally", "api_key"}  # reading all of them takes no time


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return make_storage(Settings(data=tmp_path / "store"))


def crowded(sessions: Sessions, jobs: int, metrics: int = 2) -> None:
    """An account with so many ended jobs, each with events and curves; one of them has very long curves."""
    queued(sessions, "acct-1")
    with sessions.begin() as session:
        template = session.scalars(select(Job)).one()
        template.state, template.finished_at = JobState.CANCELLED, 1.0
        shown = {name: getattr(template, name) for name in inspect(Job).columns.keys() if name != "id"}  # noqa: SIM118
        for number in range(jobs):
            name = f"ftjob-{number:04}"
            session.add(Job(**{**shown, "id": name, "created_at": 2.0 + number}))
            session.flush()
            session.add(JobEvent(job_id=name, seq=1, created_at=1.0, message="Hello.", actor="worker"))
            session.add(WebhookEvent(account_id="acct-1", job_id=name, type="t", created_at=1.0))
            session.add(Usage(job_id=name, attempt=1, stage="train", account_id="acct-1", seconds=1.0, created_at=1.0))
            curve = {"job_id": name, "stage": "train", "attempt": 1, "created_at": 1.0, "data": {}}
            if steps := range(LONG if number == 0 else metrics):
                session.execute(insert(Metric), [{**curve, "step": step} for step in steps])


@contextmanager
def deletions(engine: Engine) -> Iterator[list[int]]:
    """How many rows each transaction of the block has deleted."""
    counts: list[int] = []

    def begun(*_: object) -> None:
        counts.append(0)

    def executed(_: object, cursor: object, statement: str, *__: object) -> None:
        if statement.startswith("DELETE"):
            counts[-1] += cursor.rowcount  # type: ignore[attr-defined]

    event.listen(engine, "begin", begun)
    event.listen(engine, "after_cursor_execute", executed)
    yield counts
    event.remove(engine, "begin", begun)
    event.remove(engine, "after_cursor_execute", executed)


def bind(sessions: Sessions) -> Engine:
    with sessions() as session:
        engine = session.get_bind()
    assert isinstance(engine, Engine)
    return engine


def test_a_large_account_is_erased_in_transactions_of_few_rows(database: Sessions, local: Storage) -> None:
    crowded(database, 30)
    for number in range(3):
        upload(database, local, name=f"file-{number}")
    number = ask(database, "account", "acct-1")
    with deletions(bind(database)) as counts:
        assert eraser(database, local).advance(number)
    assert max(counts) <= rows.LIMIT + 20
    with database() as session:
        assert session.get_one(Erasure, number).rows == sum(counts)
        assert sum(counts) > LONG
        assert session.scalars(select(Account)).all() == []
    assert set(hits(database, "acct-1")) <= {"audit", "erasure"}


def test_asking_for_an_accounts_erasure_writes_as_much_for_many_jobs_as_for_one(database: Sessions) -> None:
    crowded(database, 10, metrics=0)
    written: list[str] = []

    def executed(_: object, __: object, statement: str, *___: object) -> None:
        written.append(statement.partition(" ")[0])

    event.listen(bind(database), "after_cursor_execute", executed)
    ask(database, "account", "acct-1")
    event.remove(bind(database), "after_cursor_execute", executed)
    assert len([word for word in written if word in ("INSERT", "UPDATE", "DELETE")]) <= 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_looking_for_what_is_to_go_waits_for_no_writer(database: Sessions, local: Storage) -> None:
    queued(database)
    begun: list[str] = []

    def executed(_: object, __: object, statement: str, *___: object) -> None:
        begun.extend([statement] if statement.startswith("BEGIN") else [])

    event.listen(bind(database), "after_cursor_execute", executed)
    assert retention.expire_files(database) == retention.expire_jobs(database, 1.0) == 0
    assert Tidier(database, local, 1.0).round() == 0
    assert not retention.clear_pages(database)
    event.remove(bind(database), "after_cursor_execute", executed)
    assert begun == ["BEGIN"] * 4


def test_nobody_takes_a_job_of_an_account_that_is_being_erased(database: Sessions) -> None:
    queued(database)
    ask(database, "account", "acct-1")
    assert claim(database) is None


def test_an_erasure_that_is_put_off_after_every_step_ends_with_all_that_there_was(
    database: Sessions, local: Storage
) -> None:
    crowded(database, 25)
    put(local, job_key("acct-1", "ftjob-0003", 1, "left"))
    upload(database, local)
    number, turns = ask(database, "account", "acct-1"), 0
    while not eraser(database, local).advance(number, 0.0):
        turns += 1
        assert turns < 1000
    assert turns > 5
    with database() as session:
        assert session.get_one(Erasure, number).objects == 2
    assert local.keys("accounts/acct-1") == []


def test_erasures_that_have_to_wait_hold_up_no_other(database: Sessions, local: Storage) -> None:
    held = running(database)
    with database.begin() as session:
        at = now(session)
        session.add_all(
            Erasure(account_id="acct-1", kind="job", target=held.job_id, created_at=at, requested_at=at, tried_at=1.0)
            for _ in range(150)
        )
    queued(database, "acct-2")
    upload(database, local, "acct-2")
    with database.begin() as session:
        late = Erasure(account_id="acct-2", kind="file", target="file-1", created_at=at, requested_at=at)
        session.add(late)
    eraser(database, local).round()
    with database() as session:
        assert session.get_one(Erasure, late.id).done_at is not None


class Torn:
    """A store that is away for everything with a word in its name."""

    kind = "local"

    def __init__(self, store: Storage, word: str) -> None:
        self._store, self._word = store, word

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object) -> object:
            if any(self._word in str(argument) for argument in arguments):
                raise StorageUnavailable("away", code="storage_unavailable")
            return getattr(self._store, name)(*arguments)

        return call


def test_a_thing_whose_objects_can_not_be_erased_holds_up_no_other(database: Sessions, local: Storage) -> None:
    queued(database)
    stuck = ask(database, "file", upload(database, local, name="file-1"))
    going = ask(database, "file", upload(database, local, name="file-2"))
    eraser(database, Torn(local, "file-1")).round()
    with database() as session:
        assert session.get_one(Erasure, stuck).done_at is None
        assert session.get_one(Erasure, going).done_at is not None


def test_a_job_that_can_not_be_tidied_holds_up_no_other(database: Sessions, local: Storage) -> None:
    first, second = worked(database, local), worked(database, local)
    with database.begin() as session:
        session.execute(update(Job).where(Job.id == first).values(finished_at=1.0))
    Tidier(database, Torn(local, first), 0.0).round()
    with database() as session:
        assert session.get_one(Job, first).tidied_at is None
        assert session.get_one(Job, second).tidied_at is not None


def test_expired_files_that_a_job_needs_hold_up_nobodys(database: Sessions, local: Storage) -> None:
    used = [upload_row(database, "acct-1", f"file-used-{number}") for number in range(retention.BATCH + 1)]
    queued(database, "acct-1", training_files=used)
    upload_row(database, "acct-1", "file-free", expires_at=3.0)
    queued(database, "acct-2")
    upload_row(database, "acct-2", "file-other", expires_at=4.0)
    assert retention.expire_files(database) == 2
    with database() as session:
        gone = session.scalars(select(File.id).where(File.deleted_at.is_not(None)).order_by(File.id)).all()
    assert gone == ["file-free", "file-other"]


def test_one_accounts_many_expired_files_take_turns_with_anothers(database: Sessions) -> None:
    queued(database, "acct-1")
    for number in range(retention.BATCH + 10):
        upload_row(database, "acct-1", f"file-{number}")
    queued(database, "acct-2")
    upload_row(database, "acct-2", "file-other", expires_at=4.0)
    assert retention.expire_files(database) == retention.BATCH
    with database() as session:
        assert session.get_one(File, "file-other").deleted_at is not None


def upload_row(sessions: Sessions, account: str, name: str, expires_at: float = 2.0) -> str:
    with sessions.begin() as session:
        if session.get(Account, account) is None:
            session.add(Account(id=account, name=account, created_at=1.0))
            session.flush()
        session.add(
            File(
                id=name,
                account_id=account,
                filename="f",
                purpose="fine-tune",
                bytes=1,
                sha256="",
                storage_key=f"accounts/{account}/files/{name}",
                status="processed",
                created_at=1.0,
                expires_at=expires_at,
            )
        )
    return name


def plans(session: Session, statements: dict[str, object]) -> Iterator[tuple[str, str]]:
    for statement, parameters in statements.items():
        for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
            yield statement, str(row[-1])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_statement_of_an_erasure_reads_a_whole_table(database: Sessions, local: Storage) -> None:
    asked: dict[str, object] = {}

    def executing(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            asked[statement] = parameters

    job_id = worked(database, local)
    worked(database, local)
    event.listen(bind(database), "before_cursor_execute", executing)
    retention.expire_files(database)
    retention.expire_jobs(database, 1.0)
    Tidier(database, local, 0.0).round()
    for kind, target in (("file", upload(database, local)), ("job", job_id), ("account", "acct-1")):
        ask(database, kind, target)
        eraser(database, local).round()
    event.remove(bind(database), "before_cursor_execute", executing)
    with database() as session:
        for statement, plan in plans(session, asked):
            words = plan.split()
            assert words[0] != "SCAN" or words[1] in SMALL or words[1] not in Table.metadata.tables, statement
    assert len(asked) > 40


def test_every_reference_between_tables_can_be_followed_back_by_an_index() -> None:
    for table in Table.metadata.tables.values():
        leading = {
            next(iter(one.columns)).name for one in table.indexes if one.dialect_options["sqlite"]["where"] is None
        }
        leading |= {
            next(iter(one.columns)).name
            for one in table.constraints
            if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)
        }
        missing = {column.name for column in table.columns if column.foreign_keys and column.name not in leading}
        assert not missing, table.name
