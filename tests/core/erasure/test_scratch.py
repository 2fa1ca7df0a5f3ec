"""What killed processes leave on a machine goes, and a receipt waits for the machines where something may lie."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text, update

from core.database.engine import connect, now
from core.database.migrations import migrate
from core.database.tables import Erasure, File, Worker
from core.erasure.eraser import Eraser
from core.erasure.places import Place
from core.erasure.receipts import genuine, receipt
from core.erasure.scratch import OwnFolder, sweep
from core.keys.keyring import Keyring
from core.settings import Settings
from core.storage.factory import storage as make_storage
from core.storage.interface import Storage
from core.storage.local import LocalStorage
from tests.core.erasure.test_eraser import CANARY, KEYRING, ask, upload
from tests.core.ledger import Sessions, queued, running

HOLDS = "import sys, time; from pathlib import Path; from core.erasure.scratch import OwnFolder\n"
HOLDS += "folder = OwnFolder(Path(sys.argv[1])); (folder.path / 'upload').write_text('x'); print('made', flush=True)\n"
HOLDS += "time.sleep(600)"

DRAFTS = "import sys, time; from pathlib import Path; from core.disk import drafted\n"
DRAFTS += "with drafted(Path(sys.argv[1])) as draft: draft.write_text('x'); print(draft, flush=True); time.sleep(600)"


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return make_storage(Settings(data=tmp_path / "store"))


def written(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(CANARY)
    return folder


def test_only_the_folder_of_a_running_attempt_survives_a_sweep(database: Sessions, tmp_path: Path) -> None:
    held, waiting = running(database), queued(database)
    work = tmp_path / "work"
    alive = written(work / "acct-1" / f"{held.job_id}-e{held.attempt}")
    names = (f"{held.job_id}-e0", f"{waiting}-e1", "ftjob-gone-e1")
    dead = [written(work / "acct-1" / name) for name in names]
    dead += [written(work / "acct-gone" / name) for name in ("ftjob-gone-e3", "what-a-trainer-has-put-there")]
    link = work / "acct-1" / "ftjob-link-e1"
    link.symlink_to(alive)
    assert sweep(tmp_path, database) is not None
    assert alive.exists()
    assert not any(path.exists() for path in (*dead, link))
    assert (alive / "spec.json").exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_attempts_of_an_older_version_left_directly_among_the_accounts_goes(
    database: Sessions, tmp_path: Path
) -> None:
    held = running(database)
    left = [written(tmp_path / "work" / f"{job_id}-e{held.attempt}") for job_id in (held.job_id, "ftjob-gone")]
    other = written(tmp_path / "work" / "encoding-1")
    assert sweep(tmp_path, database) is not None
    assert [path.exists() for path in (*left, other)] == [False, False, True]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_uploads_of_a_killed_process_go_at_once_and_those_of_a_living_one_stay(
    database: Sessions, tmp_path: Path
) -> None:
    uploads = tmp_path / "uploads"
    mine = OwnFolder(uploads).path
    child = subprocess.Popen([sys.executable, "-c", HOLDS, str(uploads)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert sweep(tmp_path, database) is not None
    assert len(list(uploads.iterdir())) == 2
    child.kill()
    child.wait()
    child.stdout.close()
    assert sweep(tmp_path, database) is not None
    assert list(uploads.iterdir()) == [mine]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_erasure_of_a_file_takes_what_killed_calls_of_its_account_were_storing(
    database: Sessions, tmp_path: Path
) -> None:
    store = LocalStorage(tmp_path / "storage", KEYRING)
    queued(database)
    target = upload(database, store)
    with database() as session:
        key = session.get_one(File, target).storage_key
    children = [
        subprocess.Popen([sys.executable, "-c", DRAFTS, str(store.root / key)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    names = [Path(child.stdout.readline().decode().strip()) for child in children if child.stdout is not None]
    children[0].kill()
    children[0].wait()
    try:
        assert Eraser(database, store, KEYRING, tmp_path).advance(ask(database, "file", target))
        assert [name.exists() for name in names] == [False, True]
    finally:
        for child in children:
            child.kill()
            child.communicate()


def worker(sessions: Sessions, **fields: object) -> None:
    with sessions.begin() as session:
        at = now(session)
        row = {"queue": "gpu", "host": "elsewhere", "pid": 1, "started_at": at, "seen_at": at, "data": "/data"}
        session.add(Worker(**{**row, "id": "worker-1", **fields}))


def test_a_receipt_waits_until_every_machine_has_swept(database: Sessions, local: Storage, tmp_path: Path) -> None:
    queued(database)
    number = ask(database, "file", upload(database, local))
    here = Eraser(database, local, KEYRING, tmp_path)
    worker(database, swept_at=1.0)
    worker(database, id="worker-2", host=Place.here(tmp_path).host, data=str(tmp_path))
    assert not here.advance(number)
    with database.begin() as session:
        session.execute(update(Worker).where(Worker.id == "worker-1").values(swept_at=now(session)))
    assert here.advance(number)
    with database() as session:
        done = session.get_one(Erasure, number)
        places = [(entry["place"], entry.get("host")) for entry in done.looked_at]
        told = receipt(done)
    scratch = [("scratch", Place.here(tmp_path).host), ("scratch", "elsewhere")]
    assert places == [("jobs", None), ("store", None), ("database", None), *scratch]
    assert genuine(told, done.signature or "", KEYRING)
    assert not genuine(told | {"looked_at": []}, done.signature or "", KEYRING)


def test_a_machine_that_is_away_is_named_in_the_receipt(database: Sessions, local: Storage, tmp_path: Path) -> None:
    queued(database)
    number = ask(database, "file", upload(database, local))
    worker(database, seen_at=5.0)
    assert Eraser(database, local, KEYRING, tmp_path).advance(number)
    with database() as session:
        last = session.get_one(Erasure, number).looked_at[-1]
    assert (last["host"], last["away_since"]) == ("elsewhere", 5.0)
    assert "when it starts again" in last["remains"]


def test_a_job_that_a_living_worker_has_not_left_is_not_signed_for(
    database: Sessions, local: Storage, tmp_path: Path
) -> None:
    job_id = queued(database)
    number = ask(database, "job", job_id)
    worker(database, host=Place.here(tmp_path).host, data=str(tmp_path), job_id=job_id)
    here = Eraser(database, local, KEYRING, tmp_path)
    assert not here.advance(number)
    with database.begin() as session:
        session.execute(update(Worker).values(job_id=None))
    assert here.advance(number)


def test_receipts_from_before_they_said_where_they_looked_stay_genuine() -> None:
    old = {"id": "erasure-1", "kind": "file", "target": "file-1", "objects": 1, "rows": 1}
    signature = Keyring(("k" * 40,)).sign(b'{"id": "erasure-1", "kind": "file", "rows": 1, "target": "file-1"}')
    assert genuine(old, signature, Keyring(("k" * 40,)))
    assert genuine({**old, "looked_at": []}, signature, Keyring(("k" * 40,)))
    assert not genuine({**old, "looked_at": [{"place": "store"}]}, signature, Keyring(("k" * 40,)))


def database_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("test.db*"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_keeps_no_byte_of_what_a_receipt_says_is_gone(
    database: Sessions, local: Storage, tmp_path: Path
) -> None:
    job_id = queued(database, suffix=CANARY, request={"bat": CANARY * 500})
    number = ask(database, "job", job_id)
    assert CANARY.encode() in database_bytes(tmp_path)
    here = Eraser(database, local, KEYRING, tmp_path)
    with database.kw["bind"].execution_options(read_only=True).connect() as reader:
        reader.execute(text("SELECT count(*) FROM job")).all()
        assert not here.advance(number)  # a reader still sees the job, and so the log keeps it
    assert here.advance(number)
    assert CANARY.encode() not in database_bytes(tmp_path)


def test_what_was_deleted_before_deleting_overwrote_is_gone_after_the_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/test.db"
    migrate(url)
    engine = connect(url)
    with engine.execution_options(no_transaction=True).connect() as connection:
        connection.exec_driver_sql("PRAGMA secure_delete=OFF")
        connection.exec_driver_sql("INSERT INTO tally (name, count) VALUES (?, 1)", (CANARY * 15,))
        connection.exec_driver_sql("DELETE FROM tally")
        connection.exec_driver_sql("PRAGMA user_version=0")  # as before the upgrade
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    assert CANARY.encode() in database_bytes(tmp_path)
    migrate(url)
    assert CANARY.encode() not in database_bytes(tmp_path)
