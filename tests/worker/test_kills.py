"""Workers that are killed at five points of a job: how soon it goes on, and how much is done twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from core.database.invariants import broken_invariants
from core.database.tables import Adapter, Artifact, Job, JobEvent
from core.disk import DRAFT
from core.erasure.retention import Tidier
from core.errors import NotFound
from core.parameters.schedule import STAGES
from tests.worker import fast_trainer
from tests.worker.floor import ROOT, Floor, environment, kill
from worker.job_folder import DONE, SAVES

NEEDED = fast_trainer.STEPS * len(STAGES)
MARGIN_SECONDS = 15.0


def steps(floor: Floor, job_id: str) -> list[str]:
    lines = fast_trainer.read(floor.settings.data / "pools/steps")
    return [line for line in lines if line.startswith(job_id)]


def drafts(floor: Floor, job_id: str) -> bool:
    """Whether a save is being written just now."""
    return any((floor.settings.data / "work").glob(f"*/{job_id}-e1/saves/*.tmp"))


def stored(floor: Floor, job_id: str, name: str) -> bool:
    with floor.sessions() as session:
        return session.get(Artifact, (job_id, name)) is not None


def standing(floor: Floor, job_id: str) -> dict[str, int]:
    """The steps that are stored: all of a finished stage, and of the one in work those that its save holds."""
    with floor.sessions() as session:
        keys = {row.name: row.storage_key for row in session.scalars(select(Artifact).where(Artifact.job_id == job_id))}
    found = {stage: fast_trainer.STEPS for stage in STAGES if f"{stage}/{DONE}" in keys}
    for name, key in keys.items():
        if name.startswith(f"{SAVES}/") and name.endswith("/step.json"):
            with suppress(NotFound):  # the next save has replaced it
                found[name.split("/")[1].rpartition("-")[0]] = int(floor.storage.read(key))
    return found


def repeated(floor: Floor, job_id: str, known: dict[str, int]) -> list[str]:
    """What attempts after the first have done of that again."""
    later = (line for line in steps(floor, job_id) if not line.startswith(f"{job_id}-e1 "))
    return [line for line in later if int(line.split()[2]) <= known.get(line.split()[1], 0)]


POINTS: dict[str, Callable[[Floor, str], bool]] = {
    "claim": lambda floor, job_id: floor.get(job_id).attempt == 1,
    "step": lambda floor, job_id: standing(floor, job_id).get("train", 0) >= 4,
    "save": lambda floor, job_id: len(steps(floor, job_id)) > 12 and drafts(floor, job_id),
    "upload": lambda floor, job_id: stored(floor, job_id, "score/done.json"),
    "commit": lambda floor, job_id: stored(floor, job_id, "export/done.json"),
}


def workers(floor: Floor, stack: ExitStack) -> dict[int, subprocess.Popen[bytes]]:
    started = [stack.enter_context(floor.worker()) for _ in range(2)]
    return {process.pid: process for process in started}


def watched(floor: Floor, job_id: str, reached: Callable[[Floor, str], bool]) -> Job:
    """The job at the point, or at its end where the point went by too quickly to be seen."""
    deadline = time.monotonic() + 60
    while not reached(floor, job_id) and floor.get(job_id).state != "SUCCEEDED":
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return floor.get(job_id)


def tidy(floor: Floor) -> None:
    """Erase what ended jobs have left, as dispatchers do when some time has passed."""
    tidier = Tidier(floor.sessions, floor.storage, 0.0)
    tidier.round()
    with floor.sessions() as session:
        assert session.scalars(select(Job.id).where(Job.tidied_at.is_(None))).all() == []


def leavings(floor: Floor) -> list[Path]:
    """Empty folders, and what was being written by those that were killed."""
    places = list(os.walk(floor.settings.data / "storage"))
    empty = [Path(place) for place, folders, files in places if not folders and not files]
    return empty + [Path(place, name) for place, _, files in places for name in files if name.startswith(DRAFT)]


def claimed(floor: Floor, job_id: str) -> list[float]:
    moves = (JobEvent.job_id == job_id) & (JobEvent.to_state == "RUNNING")
    with floor.sessions() as session:
        return list(session.scalars(select(JobEvent.created_at).where(moves).order_by(JobEvent.seq)))


@pytest.mark.parametrize("plant", [pytest.param("sqlite", marks=pytest.mark.long), "postgresql"], indirect=True)
@pytest.mark.slow
def test_a_job_of_a_killed_worker_goes_on_in_time_and_repeats_little(
    plant: Floor, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    delays, done, needed, rounds = list[float](), 0, 0, pytestconfig.getoption("--kills")
    with plant.dispatcher(), ExitStack() as stack:
        staff = workers(plant, stack)
        for _ in range(rounds):
            for reached in POINTS.values():
                job_id = plant.job()
                job = watched(plant, job_id, reached)
                if job.state == "RUNNING" and job.worker_id is not None:
                    holder = staff.pop(int(job.worker_id.rpartition(":")[2]))
                    kill(holder)
                    known = standing(plant, job_id)
                    replaced = stack.enter_context(plant.worker())
                    staff[replaced.pid] = replaced
                    beaten = plant.get(job_id).heartbeat_at or 0.0
                    if plant.wait_for(job_id, "SUCCEEDED", 60).attempt == 2:
                        delays.append(claimed(plant, job_id)[1] - beaten)
                    assert repeated(plant, job_id, known) == []
                plant.wait_for(job_id, "SUCCEEDED", 60)
                assert len(plant.rows(Adapter, job_id)) == 1
                done, needed = done + len(steps(plant, job_id)), needed + NEEDED
    with plant.sessions() as session:
        assert broken_invariants(session) == []
    tidy(plant)
    assert leavings(plant) == []
    with capsys.disabled():
        if rounds > 1:
            print(
                f"\n{len(delays)} kills: next claim after {max(delays):.1f} s at most, {done / needed - 1:.1%} repeated"
            )
    assert delays
    assert max(delays) < plant.settings.lease_seconds + MARGIN_SECONDS
    # what is not stored yet hangs on how fast the machine is, and on where the kill came: few kills say nothing of it
    assert rounds == 1 or done <= 1.1 * needed


SUPERVISOR = """
from worker import tasks
from worker.supervision.supervisor import Supervisor
place = tasks.workplace()
Supervisor(tasks.take(place), place).run()
"""


@pytest.mark.slow
def test_nothing_of_a_job_ever_lies_among_the_temporary_files_of_the_machine(floor: Floor, tmp_path: Path) -> None:
    """A folder whose time of change is the one it began with has never held anything."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    began = temporary.stat().st_mtime_ns
    variables = environment(floor.settings) | {"TMPDIR": str(temporary), "ALBATROSS_BROKER_URL": "memory://"}
    for number, reached in enumerate([*POINTS.values(), lambda floor, job_id: False]):
        job_id = floor.job(account=f"acct-{number}")
        process = subprocess.Popen([sys.executable, "-c", SUPERVISOR], cwd=ROOT, env=variables, start_new_session=True)
        try:
            watched(floor, job_id, reached)
        finally:
            kill(process)
        assert (list(temporary.iterdir()), temporary.stat().st_mtime_ns) == ([], began)
