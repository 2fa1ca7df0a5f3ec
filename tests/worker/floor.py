"""A shop floor for worker tests: settings, a database, a store, references, and jobs to claim."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.accounts import stored_bytes
from core.backbones.record import BackboneRecord
from core.database.engine import now
from core.database.tables import Account, File, Job, JobEvent, new_id
from core.jobs import control, creation, leases
from core.settings import Settings
from core.storage.interface import Storage
from core.storage.keys import file_key
from tests.worker import fast_trainer
from worker import tasks
from worker.protocol import Json
from worker.supervision.attempt_folders import cage
from worker.supervision.gpu.health import DeviceHealth
from worker.supervision.supervisor import Supervisor
from worker.supervision.workplace import Workplace
from worker.trainer.probe import probe
from worker.trainer.process import Trainer, WarmTrainer

ROOT = Path(__file__).resolve().parents[2]
FAST_TRAINER = f"{sys.executable} {fast_trainer.__file__}"
SKEWED = Path(__file__).with_name("skewed")
BACKBONES = ("tiny-a", "tiny-b")


def settings(folder: Path, database_url: str | None = None, broker_url: str | None = None) -> Settings:
    return Settings(
        data=folder,
        database_url=database_url,
        broker_url=broker_url,
        trainer=FAST_TRAINER,
        share_trainers=True,  # or the fast trainer could keep no diary
        lease_seconds=60,  # a busy machine may stand still for seconds
        heartbeat_seconds=0.5,
        dispatcher_seconds=0.3,
        wake_again_seconds=1,
        retry_seconds=0.1,
        cancel_grace_seconds=3,
        stall_seconds=60,
        min_image_side=8,
    )


def environment(chosen: Settings) -> dict[str, str]:
    """The settings as variables, for processes."""
    given = {f"ALBATROSS_{name.upper()}": str(getattr(chosen, name)) for name in chosen.model_fields_set}
    return {**os.environ, **{name: value for name, value in given.items() if value != "None"}}


def run_module(module: str, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module as a command over a data folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "ALBATROSS_DATA": str(data)},
    )


def register(record: BackboneRecord, data: Path) -> Path:
    """Make a data folder whose only registered backbone is `record`, under the name tiny."""
    chosen = Settings(data=data)
    chosen.data.mkdir()
    entry = {"version": 1, "backbones": {"tiny": record.model_dump(mode="json")}}
    chosen.registry_file.write_text(json.dumps(entry))
    return data


@dataclass
class Floor:
    """What a test needs to make jobs, to work on them, and to look at what became of them."""

    settings: Settings
    sessions: sessionmaker[Session]
    storage: Storage
    trainer: WarmTrainer = field(init=False)
    health: DeviceHealth = field(init=False)
    drain: bool = False

    def __post_init__(self) -> None:
        self.trainer = WarmTrainer(self.settings)
        self.health = DeviceHealth(tasks.fitness(self.settings, os.getpid()), partial(probe, self.settings))
        records = {
            name: {
                "id": name,
                "family": "sd1",
                "path": str(self.settings.data),
                "revision": "1",
                "sha256": {},
                "licence": "CC0",
                "target_modules": ["to_q"],
                "resolution": 32,
            }
            for name in BACKBONES
        }
        self.settings.registry_file.write_text(json.dumps({"version": 1, "backbones": records}))

    def job(
        self,
        suffix: str | None = None,
        backbone: str = "tiny-a",
        account: str = "acct-1",
        bat: Json | None = None,
        packed: bytes | None = None,
        **fields: object,
    ) -> str:
        """Store references as a decoder leaves them, and queue a job; its suffix tells the fast trainer what to do."""
        file_id = new_id("file-")
        stored = self.storage.put(file_key(account, file_id), packed or pictures())
        with self.sessions.begin() as session:
            if session.get(Account, account) is None:
                session.add(Account(id=account, name=account, created_at=now(session)))
                session.flush()
            session.add(
                File(
                    id=file_id,
                    account_id=account,
                    filename="cat.zip",
                    purpose="fine-tune",
                    bytes=stored.bytes,
                    sha256=stored.sha256,
                    storage_key=stored.key,
                    status="processed",
                    kind="images",
                    items=4,
                    created_at=now(session),
                )
            )
            stored_bytes.add(session, account, stored.bytes)
            request = {"bat": bat or {"max_steps": 7}}
            made = Job(
                account_id=account,
                backbone=backbone,
                request=request,
                training_files=[file_id],
                seed=1,
                suffix=suffix,
                queue=self.settings.queue,
                **fields,
            )
            return creation.create(session, made, self.settings).id

    def order(self, what: str, job_id: str) -> None:
        """Cancel, pause or resume, as the owner."""
        with self.sessions.begin() as session:
            getattr(control, what)(session, session.get_one(Job, job_id))

    def job_ids(self) -> list[str]:
        with self.sessions() as session:
            return list(session.scalars(select(Job.id).order_by(Job.created_at)))

    def claim(self) -> Job:
        with self.sessions.begin() as session:
            job = leases.claim(
                session,
                queue=self.settings.queue,
                worker_id="test",
                lease_seconds=self.settings.lease_seconds,
                account_job_limit=9,
            )
        assert job is not None
        return job

    def supervise(self, job: Job | None = None) -> None:
        """Work on a job in this process, as a worker's child does."""
        Supervisor(job or self.claim(), self.place()).run()

    def warm_trainer(self, backbone: str = "tiny-a 1", account: str = "acct-1") -> Trainer:
        """The trainer that a job of this account gets."""
        return self.trainer.take(backbone, cage(self.settings, account))

    def place(self) -> Workplace:
        return Workplace(
            self.settings, self.sessions, self.storage, self.trainer, "test", lambda: self.drain, self.health
        )

    def get(self, job_id: str) -> Job:
        with self.sessions() as session:
            return session.get_one(Job, job_id)

    def events(self, job_id: str) -> list[str]:
        with self.sessions() as session:
            rows = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.seq))
            return [row.message for row in rows]

    def rows(self, model: type, job_id: str) -> list:
        with self.sessions() as session:
            return list(session.scalars(select(model).where(model.job_id == job_id)))

    def stages(self) -> list[list[str]]:
        """The stages that fast trainers have begun: stage, process, attempt."""
        return [line.split() for line in fast_trainer.read(self.settings.data / "pools/stages")]

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.05)

    def wait_for(self, job_id: str, state: str, seconds: float = 60) -> Job:
        self.wait(lambda: self.get(job_id).state == state, seconds)
        return self.get(job_id)

    def wait_for_stage(self, stage: str, count: int = 1, seconds: float = 60) -> int:
        """Wait until that many attempts have begun the stage; returns the last one's trainer."""
        begun = lambda: [row for row in self.stages() if row[0] == stage]  # noqa: E731
        self.wait(lambda: len(begun()) >= count, seconds)
        return int(begun()[-1][1])

    @contextmanager
    def worker(self, skew: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
        """A real Celery worker in its own session, whose clock may be so many seconds fast."""
        with self._process(
            "celery",
            "-A",
            "worker.app",
            "worker",
            "-Q",
            self.settings.queue,
            "--without-gossip",
            "--without-mingle",
            "-O",
            "fair",
            "-l",
            "warning",
            skew=skew,
        ) as process:
            yield process

    @contextmanager
    def dispatcher(self, skew: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
        """A real dispatcher, whose clock may be so many seconds fast."""
        with self._process("worker.dispatcher", skew=skew) as process:
            yield process

    @contextmanager
    def _process(self, module: str, *arguments: str, skew: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
        log = (self.settings.data / f"{module}.log").open("ab")
        wrong = {"PYTHONPATH": str(SKEWED), "SKEW_SECONDS": str(skew)} if skew else {}
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=environment(self.settings) | wrong,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            kill(process)
            log.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of the process and its children, as a lost machine would."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def pictures(count: int = 4, *, captions: bool = True) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            image = Image.effect_noise((32, 32), 40 + 20 * number).convert("RGB")
            content = io.BytesIO()
            image.save(content, "PNG")
            archive.writestr(f"{number}.png", content.getvalue())
            if captions:
                archive.writestr(f"{number}.txt", f"sks cat number {number}")
    return buffer.getvalue()


def damaged(png: bytes) -> bytes:
    """Return a PNG whose header is as it was and whose pixels are garbage."""
    return png[:33] + bytes(reversed(png[33:]))


def repacked(change: Callable[[bytes], bytes], packed: bytes) -> bytes:
    """Return a packed set whose second picture is changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed)) as before, zipfile.ZipFile(buffer, "w") as archive:
        for name in before.namelist():
            content = before.read(name)
            archive.writestr(name, change(content) if name == "1.png" else content)
    return buffer.getvalue()
