"""One storm from the first process to the verdict."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.jobs import TERMINAL
from core.models import Job
from tests.chaos.check import Check
from tests.chaos.clients import Client, orders
from tests.chaos.evidence import Evidence
from tests.chaos.journal import Journal
from tests.chaos.plant import Plant, Size
from tests.chaos.process import processes_about
from tests.chaos.proxy import Mode
from tests.chaos.troubles import Troubles, plan
from tests.chaos.verdict import judge

SECONDS_A_JOB = 1.3
END_SECONDS = {"worker": 20.0, "dispatcher": 8.0, "api": 15.0}


@dataclass(frozen=True)
class Order:
    """What storm is wanted; without `kinds`, every kind of trouble."""

    seed: int
    jobs: int
    database: str
    poisoned: int
    long: bool = True
    kinds: Sequence[str] | None = None
    size: Size = field(default_factory=Size)
    quiet: bool = False


def storm(order: Order, folder: Path) -> list[Check]:
    """Run a storm in a folder and judge what is left; the folder keeps chaos.log and every process's own log."""
    journal = Journal(folder / "chaos.log", order.quiet)
    journal.say(f"seed {order.seed}, {order.jobs} jobs, {order.database}, in {folder}")
    try:
        with Plant(folder, order.database, order.seed, journal, order.size) as plant:
            clients = _serve(order, plant, journal)
            return judge(_rest(plant, journal, clients, order.jobs), order.long)
    finally:
        journal.close()


def _serve(order: Order, plant: Plant, journal: Journal) -> list[Client]:
    """Let clients and troubles loose on the plant until both are through."""
    seconds = SECONDS_A_JOB * order.jobs
    troubles = Troubles(plant)
    planned = plan(order.seed, seconds, order.kinds or list(troubles.kinds))
    for trouble in planned:
        journal.say(f"plan  {trouble}")
    wanted = orders(order.seed, order.jobs, len(plant.keys), order.poisoned)
    clients = [
        Client(number, plant.address, plant.keys[number], mine, seconds / max(1, len(mine)), journal)
        for number, mine in enumerate(wanted)
    ]
    for client in clients:
        client.thread.start()
    troubles.run(planned)
    _heal(plant)
    for client in clients:
        client.thread.join()
    return clients


def _heal(plant: Plant) -> None:
    for port in plant.servers.ports.values():
        port.set(Mode.PASS)
    for process in plant.processes.values():
        process.wanted = True
        process.tell_all(signal.SIGCONT)
    plant.journal.say("the troubles are over")


def _rest(plant: Plant, journal: Journal, clients: list[Client], jobs: int) -> Evidence:
    """Wait until all is done, end the service as an operator would, and collect what is left."""
    over = time.monotonic()
    waiting = lambda: plant.count(Job.id, Job.state.not_in(TERMINAL))  # noqa: E731
    rested = plant.wait(lambda: waiting() == 0, 60.0 + 1.5 * jobs)
    journal.note("rest", reached=rested, seconds=round(time.monotonic() - over, 1))
    work = plant.settings.data / "work"
    plant.wait(lambda: plant.wake() and not list(work.glob("ftjob-*")), 15)
    folders = [path.name for path in work.glob("ftjob-*")]
    endings = _end(plant)
    mine = {process.pid for process in plant.servers.processes}
    left = [pid for pid in processes_about(plant.settings.data) if pid not in mine]
    return Evidence(plant, journal, clients, endings, left, folders)


def _end(plant: Plant) -> dict[str, float | None]:
    """Stop workers, dispatchers and the API with SIGTERM; returns how long each took, None where it was killed."""
    endings = {}
    for name in (*plant.workers, *plant.dispatchers, "api"):
        process = plant.processes[name]
        process.wanted = False
        endings[name] = process.end(END_SECONDS[name.partition("-")[0]])
        plant.journal.say(f"{name} ended after {endings[name]} s")
    return endings


def in_a_folder(order: Order, keep: Path | None) -> tuple[list[Check], Path]:
    """Run a storm in a folder of its own, or in the one to keep; a folder of a broken promise is kept anyway."""
    folder = keep or Path(tempfile.mkdtemp(prefix="albatross-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    checks = storm(order, folder)
    if keep is None and all(check.kept for check in checks):
        shutil.rmtree(folder)
    return checks, folder
