"""What is erased is gone from every table and from every store, and the receipt says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text, update

from core.accounts import audit
from core.database.engine import now
from core.database.tables import Account, Adapter, Artifact, Checkpoint, Erasure, File, Idempotency, Job, Usage
from core.disk import DRAFT
from core.erasure import eraser as erasure_eraser
from core.erasure import request, retention
from core.erasure.eraser import Eraser
from core.erasure.receipts import genuine, receipt
from core.erasure.retention import Tidier
from core.errors import StorageUnavailable
from core.jobs import control, leases, reports
from core.jobs.leases import Claim
from core.keys.keyring import Keyring
from core.storage.interface import Storage, StoredObject
from core.storage.keys import file_key, job_key, job_prefix
from core.storage.local import LocalStorage
from tests.core.ledger import Sessions, claim, finish, get, queued, running

KEYRING = Keyring(("one-secret" * 4,))
CANARY = "canary-7f3a"
# what stays for good: who did what when, that it was erased, and how much was spent
STAYING = {"audit", "erasure", "tally", "alembic_version"}


def eraser(sessions: Sessions, store: Storage) -> Eraser:
    return Eraser(sessions, store, KEYRING, Path("/nonexistent"))


def put(store: Storage, key: str) -> StoredObject:
    return store.put(key, CANARY.encode())


def upload(sessions: Sessions, store: Storage, account: str = "acct-1", name: str = "file-1") -> str:
    stored = put(store, file_key(account, name))
    with sessions.begin() as session:
        session.add(
            File(
                id=name,
                account_id=account,
                filename=CANARY,
                purpose="fine-tune",
                bytes=stored.bytes,
                kind="texts",
                sha256=stored.sha256,
                storage_key=stored.key,
                status="processed",
                created_at=now(session),
            )
        )
    return name


def worked(sessions: Sessions, store: Storage, *, ended: bool = True) -> str:
    """A job with a row in every table and objects of two attempts, one of them unknown to the database."""
    held = running(sessions)
    names = ("train/curve.json", "saves/train-00001/state.json", "export/adapter.zip")
    stored = [put(store, job_key("acct-1", held.job_id, held.attempt, name)) for name in names]
    put(store, job_key("acct-1", held.job_id, 0, "left-by-a-dead-attempt"))
    with sessions.begin() as session:
        rows = [
            Artifact(name=n, kind="stage", storage_key=s.key, sha256=s.sha256, bytes=s.bytes)
            for n, s in zip(names, stored, strict=True)
        ]
        assert reports.add_artifacts(session, held, rows)
        assert reports.add_metrics(session, held, "train", [{"step": 1, CANARY: 0.5}])
        kept = Checkpoint(step=1, labels=[], storage_key=stored[0].key, sha256="", bytes=1, metrics={})
        assert reports.add_checkpoints(session, held, [kept])
        key = f"{CANARY}-{held.job_id}"
        session.add(Idempotency(account_id="acct-1", key=key, request_sha256="", job_id=held.job_id, created_at=1.0))
        spent = Usage(job_id=held.job_id, attempt=held.attempt, stage="train", account_id="acct-1", seconds=1.0)
        spent.created_at = 1.0
        session.add(spent)
        session.execute(update(Job).where(Job.id == held.job_id).values(suffix=CANARY, request={"bat": CANARY}))
        session.add(
            File(
                id=f"file-{held.job_id}",
                account_id="acct-1",
                filename=CANARY,
                purpose="fine-tune-results",
                bytes=1,
                sha256="",
                storage_key=stored[2].key,
                status="processed",
                created_at=1.0,
                job_id=held.job_id,
            )
        )
    if ended:
        with sessions.begin() as session:
            assert finish(session, held)
    return held.job_id


def ask(sessions: Sessions, kind: str, target: str) -> str:
    with sessions.begin() as session:
        audit.record(session, "acct-1", f"{kind}.delete", target)
        return request.request(session, "acct-1", kind, target).id


def hits(sessions: Sessions, needle: str) -> list[str]:
    """Tables with a row that holds the words, in any column."""
    found = []
    with sessions() as session:
        connection = session.connection()
        for table in inspect(connection).get_table_names():
            rows = session.execute(text(f'SELECT * FROM "{table}"'))
            found += [table for row in rows if needle in str(tuple(row))]
    return sorted(set(found))


def test_a_file_goes_with_its_bytes_and_the_receipt_is_genuine(database: Sessions, store: Storage) -> None:
    queued(database)
    upload(database, store)
    number = ask(database, "file", "file-1")
    assert eraser(database, store).advance(number)
    assert store.keys("accounts/acct-1") == []
    assert hits(database, CANARY) == []
    with database() as session:
        done = session.get_one(Erasure, number)
        assert (done.objects, done.rows) == (1, 1)
        told = receipt(done)
        assert genuine(told, done.signature or "", KEYRING)
        assert not genuine(told | {"target": "file-2"}, done.signature or "", KEYRING)
        assert not genuine(told, done.signature or "", Keyring(("another-secret" * 3,)))


def test_a_job_goes_with_everything_that_came_of_it(database: Sessions, store: Storage) -> None:
    job_id = worked(database, store)
    number = ask(database, "job", job_id)
    assert eraser(database, store).advance(number)
    assert store.keys("accounts/acct-1") == []
    assert hits(database, CANARY) == []
    assert set(hits(database, job_id)) <= {"audit", "erasure", "usage"}
    with database() as session:
        assert session.get_one(Erasure, number).objects == 4


def test_a_running_job_is_cancelled_first_and_erased_when_its_worker_has_left_it(
    database: Sessions, store: Storage
) -> None:
    job_id = worked(database, store, ended=False)
    number = ask(database, "job", job_id)
    assert not eraser(database, store).advance(number)
    assert len(store.keys("accounts/acct-1")) == 4
    with database.begin() as session:
        beat = leases.heartbeat(session, Claim(job_id, 1), 60)
        assert beat is not None
        assert beat.cancel
        assert leases.stopped(session, Claim(job_id, 1))
    eraser(database, store).round()
    assert store.keys("accounts/acct-1") == []
    assert set(hits(database, job_id)) <= {"audit", "erasure", "usage"}


def test_a_model_goes_with_its_files_and_its_job_stays_as_a_record(database: Sessions, store: Storage) -> None:
    job_id = worked(database, store)
    with database() as session:
        model = session.scalars(select(Adapter.id)).one()
    assert eraser(database, store).advance(ask(database, "model", model))
    assert store.keys("accounts/acct-1") == []
    assert get(database, job_id).state == "SUCCEEDED"
    with database() as session:
        assert session.scalars(select(File)).all() == []


def test_an_account_goes_with_all_that_it_has_and_nothing_of_others(database: Sessions, store: Storage) -> None:
    job_id = worked(database, store)
    upload(database, store)
    queued(database, "acct-2")
    upload(database, store, "acct-2", "file-2")
    waiting = queued(database)
    number = ask(database, "account", "acct-1")
    assert eraser(database, store).advance(number)
    assert store.keys("accounts/acct-1") == []
    assert len(store.keys("accounts/acct-2")) == 1
    assert set(hits(database, "acct-1")) | set(hits(database, job_id)) | set(hits(database, waiting)) <= STAYING
    with database() as session:
        assert session.scalars(select(Account.id)).all() == ["acct-2"]
        assert session.get_one(Erasure, number).done_at is not None


class Failing:
    """A store that is away for some calls."""

    kind = "local"

    def __init__(self, store: Storage, calls: int) -> None:
        self._store, self.calls = store, calls

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object) -> object:
            self.calls -= 1
            if self.calls >= 0:
                raise StorageUnavailable("away", code="storage_unavailable")
            return getattr(self._store, name)(*arguments)

        return call


@pytest.mark.slow
def test_an_erasure_that_breaks_off_anywhere_is_taken_up_again(database: Sessions, store: Storage) -> None:
    number = ask(database, "job", worked(database, store))
    failing = Failing(store, 2)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            eraser(database, failing).advance(number)
        with database() as session:
            assert session.get_one(Erasure, number).done_at is None
    eraser(database, failing).round()
    with database() as session:
        assert session.get_one(Erasure, number).done_at is not None
    assert store.keys("accounts/acct-1") == []


def test_what_a_late_writer_puts_back_is_erased_too(database: Sessions, store: Storage) -> None:
    job_id = worked(database, store)
    number = ask(database, "job", job_id)
    assert eraser(database, store).advance(number)
    put(store, job_key("acct-1", job_id, 1, "export/late"))
    with database.begin() as session:
        signed = session.get_one(Erasure, number).signature
        session.execute(update(Erasure).values(tried_at=Erasure.tried_at - erasure_eraser.LOOK_AGAIN_SECONDS - 1))
    eraser(database, store).round()
    assert store.keys("accounts/acct-1") == []
    with database() as session:
        done = session.get_one(Erasure, number)
        assert (done.objects, done.signature) == (5, signed)
        assert genuine(receipt(done), signed or "", KEYRING)


def test_what_ended_jobs_left_behind_is_tidied_up_and_what_is_needed_stays(database: Sessions, store: Storage) -> None:
    job_id = worked(database, store)
    with database.begin() as session:
        session.execute(update(Artifact).where(Artifact.name.like("saves/%")).values(kind="save"))
    assert Tidier(database, store, 100.0).round() == 0
    tidier = Tidier(database, store, 0.0)
    assert [tidier.round(), tidier.round()] == [2, 0]
    names = [key.rpartition("/e1/")[2] for key in store.keys(f"accounts/acct-1/jobs/{job_id}")]
    assert sorted(names) == ["export/adapter.zip", "train/curve.json"]


def test_uploads_whose_time_is_over_are_erased_unless_a_job_needs_them(database: Sessions, store: Storage) -> None:
    job_id = queued(database, training_files=["file-1"])
    upload(database, store)
    upload(database, store, name="file-2")
    queued(database, training_files=["file-2"], published_from_job="ftjob-1", published_from_step=5)  # reads no files
    with database.begin() as session:
        session.execute(update(File).values(expires_at=1.0))
    assert retention.expire_files(database) == 1
    eraser(database, store).round()
    assert [key.rpartition("/")[2] for key in store.keys("accounts/acct-1")] == ["file-1"]
    job = claim(database)
    assert job is not None
    assert job.id == job_id


def test_ended_jobs_are_kept_as_long_as_the_operator_says(database: Sessions, store: Storage) -> None:
    job_id = worked(database, store)
    assert [retention.expire_jobs(database, days) for days in (None, 1.0)] == [0, 0]
    with database.begin() as session:
        session.execute(update(Job).values(finished_at=Job.finished_at - 2 * retention.DAY))
    assert retention.expire_jobs(database, 1.0) == 1
    eraser(database, store).round()
    assert set(hits(database, job_id)) <= {"audit", "erasure", "usage"}


def test_what_a_killed_attempt_was_just_storing_goes_when_its_ended_job_is_tidied(
    database: Sessions, tmp_path: Path
) -> None:
    held, local = running(database), LocalStorage(tmp_path / "store", KEYRING)
    folder = local.root / job_prefix("acct-1", held.job_id) / "e1/saves/train-00004"
    folder.mkdir(parents=True)
    (folder.parent / f"{DRAFT}of-a-killed-process").write_text(CANARY)
    with database.begin() as session:
        control.cancel(session, session.get_one(Job, held.job_id))
        assert leases.stopped(session, held)
    Tidier(database, local, 0.0).round()
    assert not (local.root / job_prefix("acct-1", held.job_id)).exists()


def test_what_a_cancelled_job_has_shown_stays_until_the_job_is_erased(database: Sessions, store: Storage) -> None:
    held = running(database)
    key = job_key("acct-1", held.job_id, held.attempt, "live/samples.json")
    stored = put(store, key)
    with database.begin() as session:
        shown = Artifact(name="live/samples.json", kind=reports.LIVE, storage_key=key, sha256="", bytes=stored.bytes)
        assert reports.replace_live(session, held, [shown]) == []
        control.cancel(session, session.get_one(Job, held.job_id))
        assert leases.stopped(session, held)
    late = put(store, job_key("acct-1", held.job_id, held.attempt, "live/of-a-late-writer"))
    assert Tidier(database, store, 0.0).round() == 1
    assert store.keys(job_prefix("acct-1", held.job_id)) == [key]
    with database() as session:
        assert session.get_one(Account, "acct-1").stored_bytes == stored.bytes == late.bytes
    with database.begin() as session:
        erasure = request.request(session, "acct-1", "job", held.job_id)
    assert eraser(database, store).advance(erasure.id)
    assert store.keys(job_prefix("acct-1", held.job_id)) == []
    with database() as session:
        assert session.get_one(Account, "acct-1").stored_bytes == 0
        assert session.scalars(select(Artifact)).all() == []
