"""One storm from the first process to the verdict."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.check import Check
from tests.chaos.clients import Client, orders
from tests.chaos.journal import Journal
from tests.chaos.plant import Plant, Size
from tests.chaos.proxy import Mode
from tests.chaos.rest import rest
from tests.chaos.troubles import Troubles, plan
from tests.chaos.verdict import judge

SECONDS_A_JOB = 1.2
ANSWERS: Sequence[int | str] = (*[200] * 15, 500, 503, "close", "silence")  # of those who are told of a job's end


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
            return judge(rest(plant, journal, clients, order.jobs), order.long)
    finally:
        journal.close()


def _serve(order: Order, plant: Plant, journal: Journal) -> list[Client]:
    """Let clients and troubles loose on the plant until both are through."""
    seconds = SECONDS_A_JOB * order.jobs
    troubles = Troubles(plant)
    planned = plan(order.seed, seconds, order.kinds or troubles.bag())
    for trouble in planned:
        journal.say(f"plan  {trouble}")
    wanted = orders(order.seed, order.jobs, len(plant.keys), order.poisoned)
    clients = [
        Client(number, plant.address, plant.keys[number], mine, seconds / max(1, len(mine)), journal)
        for number, mine in enumerate(wanted)
    ]
    plant.receiver.script.extend(random.Random(order.seed).choices(ANSWERS, k=2 * order.jobs))
    for client in clients:
        client.ends = time.monotonic() + seconds
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


def in_a_folder(order: Order, keep: Path | None) -> tuple[list[Check], Path]:
    """Run a storm in a folder of its own, or in the one to keep; a folder of a broken promise is kept anyway."""
    folder = keep or Path(tempfile.mkdtemp(prefix="albatross-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    checks = storm(order, folder)
    if keep is None and all(check.kept for check in checks):
        shutil.rmtree(folder)
    return checks, folder
