"""The store's proxy lets everything through as it is, unless a fault is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import StorageUnavailable
from core.storage.s3 import S3Storage
from tests.chaos.s3proxy import Store
from tests.conftest import s3_settings

KEY = "accounts/a/jobs/ftjob-x/e3/export/done.json"


@pytest.fixture
def store(s3: str) -> Iterator[Store]:
    made = Store(int(s3.rpartition(":")[2]), seed=1)
    yield made
    made.close()


@pytest.fixture
def client(store: Store, tmp_path: Path) -> S3Storage:
    return S3Storage(s3_settings(f"http://127.0.0.1:{store.port}", tmp_path))


def test_files_pass_whole_in_both_directions(client: S3Storage, tmp_path: Path) -> None:
    content = b"weights" * 100_000
    put = client.put("a/file", content)
    assert client.fetch("a/file", tmp_path / "file").sha256 == put.sha256
    assert client.delete_prefix("a") == 1


def test_refused_requests_and_torn_answers_are_told_as_an_absent_store(
    client: S3Storage, store: Store, tmp_path: Path
) -> None:
    client.put("a/file", b"weights" * 1000)
    (tmp_path / "source").write_bytes(b"weights")
    store.refused_share = 1.0
    for source in (b"weights", tmp_path / "source"):
        with pytest.raises(StorageUnavailable):
            client.put("a/other", source)
    store.refused_share, store.torn_share = 0.0, 1.0
    with pytest.raises(StorageUnavailable):
        client.fetch("a/file", tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert min(store.counts.values()) > 0


def test_the_last_upload_of_a_job_is_stored_and_its_answer_held_back(client: S3Storage, store: Store) -> None:
    client.put("a/file", b"x")  # makes the bucket
    store.armed = True
    client.put("accounts/a/jobs/ftjob-x/e3/train/done.json", b"another stage")
    uploading = threading.Thread(target=client.put, args=(KEY, b"last"))
    uploading.start()
    held = store.held.get(timeout=10)
    assert (held.job_id, held.attempt, store.armed) == ("ftjob-x", 3, False)
    with client.open(KEY) as stored:
        assert stored.read() == b"last"
    assert uploading.is_alive()
    held.released.set()
    uploading.join(10)
    assert not uploading.is_alive()
