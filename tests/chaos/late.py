"""Late writers: workers that go on with a job which belongs to somebody else by then."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from core.database.tables import Job
from core.database.tables.jobs import TERMINAL
from tests.chaos.plant import Plant
from tests.chaos.process import Process
from tests.chaos.proxy import Mode
from tests.chaos.s3proxy import LONGEST_HOLD, Held
from tests.chaos.trainer import POISON

TRAP_SECONDS = 25.0
FENCED = "the lease was lost"
WORDS_SECONDS = 10.0


class LateWriters:
    """Makes them, and notes whether each was fenced; `stop` freezes a process safely."""

    def __init__(self, plant: Plant, stop: Callable[[Process], None]) -> None:
        self._plant, self._journal, self._stop = plant, plant.journal, stop
        self._turn = threading.Lock()

    def between_upload_and_commit(self) -> None:
        """Freeze the next worker whose last upload is stored, until its job is somebody else's; then let it go on."""
        store = self._plant.servers.store
        if not self._turn.acquire(blocking=False):
            self._journal.say("skip  late writer: there is one already")
            return
        try:
            store.armed = True
            held = store.held.get(timeout=TRAP_SECONDS)
        except queue.Empty:
            self._journal.say("skip  late writer: nobody came to the last upload")
        else:
            self._hold(held)
        finally:
            store.armed = False
            self._turn.release()

    def _hold(self, held: Held) -> None:
        try:
            process = self._holder(held)
            if process is None or not process.turn.acquire(blocking=False):
                self._journal.say(f"skip  late writer: the worker of {held.job_id} is in trouble already")
                return
            try:
                self._freeze(process, held)
            finally:
                process.turn.release()
        finally:
            held.released.set()

    def _holder(self, held: Held) -> Process | None:
        try:
            return self._plant.holder(held.job_id, held.attempt)
        except SQLAlchemyError:
            return None

    def _freeze(self, process: Process, held: Held) -> None:
        with self._journal.span(f"late writer ({process.name}, {held.job_id}, attempt {held.attempt})", "worker"):
            offset = process.log.stat().st_size
            self._stop(process)
            self._plant.wait(lambda: self._over(held.job_id, held.attempt), LONGEST_HOLD - 5)
            taken = self._taken(held.job_id, held.attempt)
            held.released.set()
            process.tell_all(signal.SIGCONT)
            fenced = self._plant.wait(lambda: _says(process.logged(offset), held.job_id), WORDS_SECONDS)
        self._journal.note("late writer", job_id=held.job_id, attempt=held.attempt, taken=taken, fenced=fenced)

    def packets(self, process: Process, lease_seconds: float) -> None:
        """Hold back all that a working worker sends to the database until its job is somebody else's."""
        job = self._beating(process)
        if job is None:
            self._journal.say(f"skip  late packets: {process.name} works on nothing")
            return
        (port,) = self._plant.servers.named(f"database of {process.name}")
        offset, job_id, attempt = process.log.stat().st_size, job.id, job.attempt
        port.set(Mode.HOLD)
        try:
            self._plant.wait(lambda: self._over(job_id, attempt), 4 * lease_seconds + WORDS_SECONDS)
            taken = self._taken(job_id, attempt)
            time.sleep(0.2)
        finally:
            port.set(Mode.PASS)
        fenced = self._plant.wait(lambda: _says(process.logged(offset), job_id), WORDS_SECONDS)
        self._journal.note("late packets", job_id=job_id, attempt=attempt, taken=taken, fenced=fenced)

    def _beating(self, process: Process) -> Job | None:
        """Wait for a job whose lease the worker renews: one that is just claimed it may not know of, or has lost."""
        deadline = time.monotonic() + TRAP_SECONDS
        while time.monotonic() < deadline:
            before = {(job.id, job.attempt): job.heartbeat_at for job in self._plant.held_by(process)}
            time.sleep(2 * self._plant.settings.heartbeat_seconds)
            for job in self._plant.held_by(process):
                known = job.suffix != POISON and (job.id, job.attempt) in before
                if known and job.heartbeat_at != before[job.id, job.attempt]:
                    return job
        return None

    def _taken(self, job_id: str, attempt: int) -> bool:
        """Tell whether the job is out of this attempt's hands: another has begun, or somebody else has ended it."""
        job = self._job(job_id)
        if job is None or job.attempt > attempt:
            return job is not None
        try:
            return job.state in TERMINAL and self._plant.ended_by(job_id) != "worker"
        except SQLAlchemyError:
            return False

    def _over(self, job_id: str, attempt: int) -> bool:
        """Tell whether another attempt has begun, or the job has ended: of itself, or since its owner cancelled it."""
        job = self._job(job_id)
        return job is not None and (job.attempt > attempt or job.state in TERMINAL)

    def _job(self, job_id: str) -> Job | None:
        try:
            return self._plant.get(job_id)
        except SQLAlchemyError:
            return None


def _says(log: str, job_id: str) -> bool:
    """Tell whether a worker has found out that the job is not its own any more."""
    return any(job_id in line and FENCED in line for line in log.splitlines())
