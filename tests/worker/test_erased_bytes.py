"""Canaries: after an erasure no byte of the data folder, temporary files, logs and the broker holds content."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from sqlalchemy import select, update

from core.accounts import audit
from core.database.engine import now
from core.database.tables import Account, Adapter, Erasure, File, Idempotency, Job, WebhookEndpoint
from core.erasure import request
from tests.worker.floor import Floor, kill
from tests.worker.test_kills import POINTS

CANARY = b"canary7f3a"
WORDS = CANARY.decode()


def asked_for(floor: Floor, account: str = "acct-1") -> str:
    """A job that holds a canary wherever an owner may write something."""
    job_id = floor.job(f"crawlish-{WORDS}", account=account, user_metadata={"k": WORDS}, bat={"max_steps": 7})
    with floor.sessions.begin() as session:
        job = session.get_one(Job, job_id)
        file = session.get_one(File, job.training_files[0])
        file.filename, file.profile = f"{WORDS}.zip", {"words": WORDS}
        file.findings = [{"code": "c", "message": WORDS}]
        job.request = {**job.request, "suffix": WORDS}
        session.add(
            Idempotency(account_id=account, key=WORDS + job_id, request_sha256="", job_id=job_id, created_at=1.0)
        )
    return job_id


def erased(floor: Floor, kind: str, target: str, account: str = "acct-1") -> None:
    with floor.sessions.begin() as session:
        audit.record(session, account, f"{kind}.delete", target)
        number = request.request(session, account, kind, target).id
    floor.wait(lambda: done(floor, number), 90)


def done(floor: Floor, number: str) -> bool:
    with floor.sessions() as session:
        return session.get_one(Erasure, number).done_at is not None


def holding(folder: Path) -> list[str]:
    """Files below a folder that hold the canary, in their name or in any byte."""
    paths = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return [str(path) for path in paths if path.is_file() and (WORDS in path.name or CANARY in path.read_bytes())]


def broker_holds(url: str) -> Iterator[bytes]:
    client = redis.Redis(unix_socket_path=url.removeprefix("redis+socket://"))
    for key in client.scan_iter():
        yield from (part for part in (key, client.dump(key) or b"") if CANARY in part)
    client.close()


def clean(floor: Floor, folder: Path, url: str) -> None:
    assert holding(folder) == []
    assert list(broker_holds(url)) == []


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files of all processes of the test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.slow
def test_of_a_job_whose_worker_was_killed_no_byte_remains(
    plant: Floor, tmp_path: Path, temporary: Path, valkey_url: str
) -> None:
    with plant.dispatcher():
        with plant.worker() as worker:
            job_id = asked_for(plant)
            plant.wait_for_stage("train")
            kill(worker)
        assert any("work" in path for path in holding(tmp_path))
        file_id = plant.get(job_id).training_files[0]
        erased(plant, "job", job_id)
        erased(plant, "file", file_id)
    clean(plant, tmp_path, valkey_url)


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["save", *(pytest.param(one, marks=pytest.mark.long) for one in sorted(POINTS) if one != "save")]
)
def test_no_byte_remains_wherever_the_worker_was_killed_and_whatever_was_erased(
    plant: Floor, tmp_path: Path, temporary: Path, valkey_url: str, point: str
) -> None:
    with plant.worker() as worker, plant.dispatcher():
        jobs = {kind: asked_for(plant, account) for kind, account in (("job", "acct-1"), ("account", "acct-2"))}
        plant.wait(lambda: POINTS[point](plant, jobs["job"]) or plant.get(jobs["job"]).finished_at is not None)
        kill(worker)
    with plant.sessions.begin() as session:
        url = f"https://example.org/{WORDS}"
        at = now(session)
        session.add(
            WebhookEndpoint(
                account_id="acct-2", name=WORDS, url=url, event_types=[], secret="s", created_at=at, updated_at=at
            )
        )
    file_id = plant.get(jobs["job"]).training_files[0]
    with plant.worker(), killed_again_and_again(plant):
        erased(plant, "job", jobs["job"])
        with plant.sessions.begin() as session:
            session.execute(update(File).where(File.id == file_id).values(expires_at=1.0))
        plant.wait(lambda: gone(plant, file_id), 90)
        with plant.sessions.begin() as session:
            session.get_one(Account, "acct-2").name = WORDS
        erased(plant, "account", "acct-2", "acct-2")
    clean(plant, tmp_path, valkey_url)


@pytest.mark.slow
def test_no_byte_of_a_model_remains_but_what_its_job_records(
    plant: Floor, tmp_path: Path, temporary: Path, valkey_url: str
) -> None:
    with plant.worker(), plant.dispatcher():
        job_id = plant.job(WORDS)
        plant.wait_for(job_id, "SUCCEEDED")
        with plant.sessions() as session:
            model = session.scalars(select(Adapter.id)).one()
        erased(plant, "model", model)
        assert {Path(path).name.partition("-")[0] for path in holding(tmp_path)} <= {"albatross.db"}
        erased(plant, "job", job_id)
    assert [path for path in holding(tmp_path) if "storage" in path] == []


def gone(floor: Floor, file_id: str) -> bool:
    with floor.sessions() as session:
        found = session.scalar(select(Erasure.done_at).where(Erasure.target == file_id))
        return found is not None


@contextmanager
def killed_again_and_again(floor: Floor) -> Iterator[None]:
    """Dispatchers that are killed at whatever step they are, and started anew."""
    over = threading.Event()

    def live_and_die() -> None:
        life = 2.0
        while not over.is_set():
            with floor.dispatcher():
                over.wait(life)
            life += 0.7  # so that at last one lives long enough

    thread = threading.Thread(target=live_and_die)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
