"""A backup of a service that is written to and trains, and the service that is made of it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from core.accounts import api_keys
from core.database.engine import connect, sessions
from core.database.invariants import broken_invariants
from core.database.migrations import migrate
from core.database.tables import Job
from core.settings import Settings
from tests.api.server import chats, pictures, register
from tests.conftest import running, until
from tests.worker.floor import ROOT, environment, settings

WRITERS = 3


@contextmanager
def serving(chosen: Settings, log: Path, key: str) -> Iterator[httpx.Client]:
    """Run `albatross serve` over a data folder, and kill it as a lost machine would be."""
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0"]
    with log.open("w") as output, running(command, cwd=ROOT, env=environment(chosen), stdout=output, stderr=output):
        until(lambda: "Albatross is ready at" in log.read_text())
        found = re.search(r"Albatross is ready at (\S+)", log.read_text())
        assert found is not None
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=found[1], headers=headers, timeout=30, verify=False) as client:
            yield client


@dataclass
class Writers:
    """Clients that upload, create and delete until told to stop."""

    client: httpx.Client
    uploaded: int = 0
    deleted: int = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        done = threading.Event()
        threads = [threading.Thread(target=self._write, args=(number, done)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def _write(self, number: int, done: threading.Event) -> None:
        while not done.is_set():
            name = f"{number}-{self.uploaded}.jsonl"
            file = upload(self.client, name, chats(4 + self.uploaded % 50))
            self.uploaded += 1
            if self.uploaded % 3 == 0:
                with suppress(httpx.TransportError):
                    self.deleted += self.client.delete(f"/v1/files/{file}").status_code == 200


def upload(client: httpx.Client, name: str, content: bytes) -> str:
    answer = client.post("/v1/files", files={"file": (name, content)}, data={"purpose": "fine-tune"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def create(client: httpx.Client, file: str, suffix: str) -> str:
    body = {"model": "tiny-images", "training_file": file, "suffix": suffix, "bat": {"max_steps": 7}}
    answer = client.post("/v1/fine_tuning/jobs", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def job(client: httpx.Client, job_id: str) -> dict[str, object]:
    return dict(client.get(f"/v1/fine_tuning/jobs/{job_id}").json())


def command(name: str, folder: Path, data: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "api.cli", name, str(folder), "--data", str(data)]
    return subprocess.run(words, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=120)


def all_files(client: httpx.Client) -> list[dict[str, object]]:
    return list(client.get("/v1/files", params={"limit": 10_000}).json()["data"])


def file_ids(client: httpx.Client) -> set[str]:
    return {str(file["id"]) for file in all_files(client)}


def broken_files(client: httpx.Client) -> list[str]:
    """The files whose content is not what the listing says."""
    broken = []
    for file in all_files(client):
        content = client.get(f"/v1/files/{file['id']}/content", follow_redirects=True)
        digest = hashlib.sha256(content.content).hexdigest() if content.status_code == 200 else ""
        if digest != file["bat"]["sha256"]:  # type: ignore[index]
            broken.append(str(file["id"]))
    return broken


@pytest.mark.slow
def test_a_backup_of_a_busy_service_becomes_one_that_goes_on(tmp_path: Path) -> None:
    chosen = settings(tmp_path / "data").model_copy(update={"active_job_limit": 50})
    chosen.data.mkdir()
    migrate(chosen.database)
    register(chosen)
    engine = connect(chosen.database)
    with sessions(engine).begin() as session:
        key = api_keys.create(session, "alice")
    engine.dispose()
    with serving(chosen, tmp_path / "first.log", key) as client:
        file = upload(client, "cat.zip", pictures())
        finished = create(client, file, "done")
        until(lambda: job(client, finished)["status"] == "succeeded")
        interrupted = create(client, file, "slow-train")
        until(lambda: job(client, interrupted)["bat"]["stage"] == "train")  # type: ignore[index]
        writers = Writers(client)
        with writers.at_work():
            until(lambda: writers.deleted > 2)
            early = file_ids(client)
            copied = command("backup", tmp_path / "backup", chosen.data)
        assert copied.returncode == 0, copied.stderr
        later = upload(client, "later.jsonl", chats(7))
        assert broken_files(client) == []
        kept = early & file_ids(client)
    vanished = int((re.search(r"^(\d+) files that", copied.stdout, re.MULTILINE) or [0, "0"])[1])

    again = chosen.model_copy(update={"data": tmp_path / "again"})
    restored = command("restore", tmp_path / "backup", again.data)
    assert restored.returncode == 0, restored.stderr
    (again.data / "pools").mkdir(exist_ok=True)
    (again.data / "pools/acted").write_text("slow\n")  # the second attempt at the slow job is not slow
    with serving(again, tmp_path / "second.log", key) as client:
        before = job(client, finished)
        assert before["status"] == "succeeded"
        ids = file_ids(client)
        assert set(before["result_files"]) < ids  # type: ignore[call-overload]
        assert later not in ids
        assert len(kept) > 2
        assert kept <= ids
        assert len(broken_files(client)) == vanished
        until(lambda: job(client, interrupted)["status"] == "succeeded")
        assert len(broken_files(client)) == vanished
        assert client.get("/readyz").json()["checks"]["database"] == "ok"
    engine = connect(again.database)
    with sessions(engine, read_only=True).begin() as session:
        assert broken_invariants(session) == []
        assert session.get_one(Job, interrupted).attempt == 2
    engine.dispose()
