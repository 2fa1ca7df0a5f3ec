"""`albatross serve` over tiny backbones of the true classes: what visitors of the page meet, worked on for real."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.reports.material import MATERIAL, furnish
from core.accounts import api_keys
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.disk import ROOT
from core.settings import Settings
from tests.api.cli.test_serve import descendants
from tests.conftest import running, until
from tests.worker.floor import environment

JOBS = "/v1/fine_tuning/jobs"
PATIENCE = 300  # seconds for a job, on a slow machine
ENDED = {"succeeded", "failed", "cancelled"}
SEEN = {"interval": 1, "window": 2}  # a curve at each step


@dataclass(frozen=True)
class Plant:
    """A running service: where it is, a key to it, and its own processes."""

    address: str
    key: str
    settings: Settings
    log: Path
    process: int
    patience: float = PATIENCE  # seconds

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60, verify=False)

    def upload(self, name: str, content: bytes) -> str:
        with self.http() as http:
            answer = http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "fine-tune"})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def send(self, material: str, numbers: range = range(6)) -> str:
        """Upload references of a kind that `benchmarks.reports` makes."""
        path = MATERIAL[material](self.settings.data.parent / f"{material}-{len(numbers)}", numbers)
        return self.upload(path.name, path.read_bytes())

    def create(self, file: str, model: str, suffix: str | None = None, **bat: object) -> str:
        body = {"model": model, "training_file": file, "suffix": suffix, "seed": 1, "bat": bat}
        with self.http() as http:
            answer = http.post(JOBS, json={name: value for name, value in body.items() if value is not None})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def job(self, job: str) -> dict[str, Any]:
        with self.http() as http:
            found: dict[str, Any] = http.get(f"{JOBS}/{job}").json()
        return found

    def wait(
        self, job: str, good: Callable[[dict[str, Any]], bool] = lambda job: job["status"] in ENDED
    ) -> dict[str, Any]:
        """Look at the job until it is as wished."""
        deadline = time.monotonic() + self.patience
        while not good(found := self.job(job)):
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        return found

    def finished(self, job: str) -> str:
        found = self.wait(job)
        assert found["status"] == "succeeded", found["error"]
        return job

    def kill_api(self) -> None:
        """Kill -9 the process that answers; `albatross serve` starts another one."""
        for pid in descendants(self.process):
            with suppress(FileNotFoundError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:3] == [b"-m", b"api"]:
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def planted(folder: Path, settings: Settings | None = None) -> Iterator[Plant]:
    """Run the service for the time of a block, with what it says in a file; on tiny backbones unless told."""
    if settings is None:
        often = {"active_job_limit": 100, "jobs_per_minute": 1000, "save_seconds": 0}
        settings = furnish(folder).model_copy(update=often)
    settings.data.mkdir(parents=True, exist_ok=True)
    migrate(settings.database)
    engine = connect(settings.database)
    with sessions(engine).begin() as session:
        key = api_keys.create(session, "alice")
    engine.dispose()
    log = folder / "serve.log"
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0"]
    with (
        log.open("w") as output,
        running(command, cwd=ROOT, env=environment(settings), stdout=output, stderr=output) as process,
    ):
        until(lambda: "Albatross is ready at" in log.read_text() or process.poll() is not None)
        found = re.search(r"Albatross is ready at (\S+)", log.read_text())
        assert found is not None, log.read_text()
        yield Plant(found[1], key, settings, log, process.pid)
