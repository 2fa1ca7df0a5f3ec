"""Both stores keep files whole, sign addresses, and let nothing out of their root."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from core.disk import DRAFT, ROOT, drafted
from core.errors import Forbidden, NotFound, TransientFailure
from core.keys.keyring import Keyring
from core.settings import Settings
from core.storage.interface import Storage, sha256_of
from core.storage.keys import job_key, job_prefix
from core.storage.local import ROUTE, LocalStorage
from core.storage.s3 import S3Storage
from tests.conftest import s3_settings

KEYRING = Keyring(("one-secret" * 4,))


def test_what_is_put_comes_back_with_its_hash(store: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    stored = store.put("a/b/c.bin", source)
    assert (stored.bytes, stored.sha256) == (3_000_000, sha256_of(source))
    with store.open("a/b/c.bin") as file:
        assert file.read() == source.read_bytes()
    assert store.fetch("a/b/c.bin", tmp_path / "deep/copy").sha256 == stored.sha256
    assert store.read("a/b/c.bin") == source.read_bytes()


def test_a_second_put_replaces_the_first(store: Storage) -> None:
    store.put("key", b"one")
    store.put("key", b"three")
    with store.open("key") as file:
        assert file.read() == b"three"


def test_what_is_not_there_is_not_found(store: Storage, tmp_path: Path) -> None:
    store.put("other", b"")
    with pytest.raises(NotFound):
        store.open("nothing")
    with pytest.raises(NotFound):
        store.read("nothing")
    with pytest.raises(NotFound):
        store.fetch("nothing", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_deleting_a_prefix_leaves_other_jobs_alone(store: Storage) -> None:
    for job in ("job-1", "job-2"):
        for name in ("x", "deep/y"):
            store.put(job_key("acct", job, 1, name), b"1")
    assert store.delete_prefix(job_prefix("acct", "job-1")) == 2
    with pytest.raises(NotFound):
        store.open(job_key("acct", "job-1", 1, "x"))
    with store.open(job_key("acct", "job-2", 1, "x")) as file:
        assert file.read() == b"1"


@pytest.mark.slow
def test_two_who_delete_the_same_at_once_do_no_harm(store: Storage) -> None:
    for round in range(10):
        for number in range(15):
            store.put(f"acct/{round}/deep/{number}", b"1")
        store.put(f"single/{round}", b"1")
        with ThreadPoolExecutor(4) as pool:
            places = [f"acct/{round}", f"single/{round}"] * 2
            counts = list(pool.map(store.delete_prefix, places))
        assert max(counts) >= 1
        assert store.keys(f"acct/{round}") == store.keys(f"single/{round}") == []
    assert store.sweep(0) == 0


def folders(store: LocalStorage) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_dir()]


def test_deleting_the_last_file_takes_the_empty_folders_with_it(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path / "objects", KEYRING)
    for key in ("acct/jobs/1/e1/saves/a/state", "acct/jobs/1/e1/saves/b/kept/deep", "acct/files/1"):
        store.put(key, b"1")
    store.delete_prefix("acct/jobs/1/e1/saves/a/state")
    assert store.keys("acct/jobs") == ["acct/jobs/1/e1/saves/b/kept/deep"]
    assert not (store.root / "acct/jobs/1/e1/saves/a").exists()
    store.delete_prefix("acct/jobs/1/e1/saves/b")
    assert folders(store) == [store.root / "acct", store.root / "acct/files"]
    store.delete_prefix("acct")
    assert folders(store) == []
    assert store.root.is_dir()


def test_folders_that_were_left_empty_are_swept_when_they_are_old(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path / "objects", KEYRING)
    store.put("acct/files/1", b"1")
    (store.root / "acct/jobs/1/e1").mkdir(parents=True)
    assert store.sweep(3600) == 0
    assert (store.root / "acct/jobs/1/e1").is_dir()
    assert [store.sweep(0), *folders(store)] == [0, store.root / "acct", store.root / "acct/files"]


def test_what_killed_processes_left_is_erased_at_any_depth_and_what_is_being_written_stays(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path / "objects", KEYRING)
    store.put("acct/jobs/1/e1/state", b"1")
    (store.root / "acct/jobs/1/e1/saves/train-4").mkdir(parents=True)
    (store.root / "acct/jobs/1/e2/saves").mkdir(parents=True)
    (store.root / f"acct/jobs/1/e2/saves/{DRAFT}dead").touch()
    with drafted(store.root / "acct/jobs/1/e3/state") as living:
        store.sweep_abandoned("acct/jobs/1")
        assert living.exists()
        assert folders(store)[-1] == living.parent
        assert sorted(path.name for path in (store.root / "acct/jobs/1").iterdir()) == ["e1", "e3"]
    store.sweep_abandoned("acct/jobs/1")
    assert [path for path in (store.root / "acct/jobs/1").rglob("*") if path.is_file()] == [
        store.root / "acct/jobs/1/e1/state"
    ]
    store.sweep_abandoned("acct/jobs/2")
    assert sorted(path.name for path in folders(store)) == ["1", "acct", "e1", "jobs"]


def test_a_file_that_cannot_be_written_leaves_no_folder(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path / "objects", KEYRING)
    with pytest.raises(NotFound):
        store.put("acct/jobs/1/e1/state", tmp_path / "nothing")
    assert folders(store) == []


def test_writers_and_deleters_of_the_same_folders_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Every round begins and ends with empty folders, which one deletes while the others come back to them."""
    rounds = "\n".join(
        (
            "import sys; from pathlib import Path; from core.storage.local import LocalStorage",
            "from core.keys.keyring import Keyring",
            "store, name = LocalStorage(Path(sys.argv[1]), Keyring(('secret' * 9,))), sys.argv[2]",
            "for number in range(400):",
            "    key = f'acct/jobs/{number % 3}/saves/{name}'",
            "    assert store.put(key, name.encode()).bytes == 1 and store.open(key).read() == name.encode()",
            "    assert store.delete_prefix(key) == 1",
        )
    )
    command = [sys.executable, "-c", rounds, str(tmp_path / "objects")]
    writers = [subprocess.Popen([*command, name], cwd=ROOT) for name in "abcd"]
    assert [writer.wait() for writer in writers] == [0] * len(writers)
    assert folders(LocalStorage(tmp_path / "objects", KEYRING)) == []


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "a/../../b", "a\0b", ""])
def test_no_key_leads_out_of_the_local_root(tmp_path: Path, key: str) -> None:
    store = LocalStorage(tmp_path / "root", KEYRING)
    with pytest.raises(NotFound):
        store.put(key, b"x")


def signed(store: LocalStorage, key: str, seconds: int = 300) -> tuple[str, int, str]:
    url = urlsplit(store.url(key, seconds=seconds) or "")
    query = parse_qs(url.query)
    return unquote(url.path.removeprefix(ROUTE)), int(query["expires"][0]), query["signature"][0]


def test_a_local_address_opens_its_own_file_only(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path, KEYRING)
    store.put("mine", b"1")
    store.put("other", b"2")
    key, expires, signature = signed(store, "mine")
    assert store.verify("GET", key, expires, signature).read_bytes() == b"1"
    for bad in (
        ("GET", "other", expires, signature),
        ("PUT", key, expires, signature),
        ("GET", key, expires + 1, signature),
        ("GET", key, expires, signature, "another name.exe"),
        ("GET", key, expires, "é" + signature),
    ):
        with pytest.raises(Forbidden):
            store.verify(*bad)


def test_a_local_address_expires(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path, KEYRING)
    store.put("mine", b"1")
    key, expires, signature = signed(store, "mine", seconds=-1)
    with pytest.raises(Forbidden):
        store.verify("GET", key, expires, signature)


def test_a_presigned_address_works_and_a_tampered_one_does_not(s3: str, tmp_path: Path) -> None:
    settings = s3_settings(s3, tmp_path).model_copy(update={"s3_public_endpoint": s3})
    store = S3Storage(settings)
    store.put("folder/mine", b"hello")
    name = 'mein "Kätzchen"\r\nX: 1.bin'
    url = store.url("folder/mine", filename=name)
    assert url is not None
    answer = httpx.get(url)
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert unquote(answer.headers["content-disposition"]) == f"attachment; filename*=UTF-8''{name}"
    assert "x" not in answer.headers
    assert httpx.get(url.replace("folder/mine", "folder/other")).status_code == 403


def test_a_wrong_secret_is_a_passing_fault_with_a_code(s3: str, tmp_path: Path) -> None:
    settings = s3_settings(s3, tmp_path).model_copy(update={"s3_secret_key": "wrong"})
    with pytest.raises(TransientFailure) as failure:
        S3Storage(settings).put("key", b"x")
    assert failure.value.code == "storage_unavailable"


def test_a_store_that_is_away_is_a_passing_fault(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path, storage="s3", s3_endpoint="http://127.0.0.1:9", s3_access_key="a", s3_secret_key="b"
    )
    with pytest.raises(TransientFailure):
        S3Storage(settings).put("key", b"x")
