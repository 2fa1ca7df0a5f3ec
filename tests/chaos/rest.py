"""What comes after the troubles: everything comes to rest, every worker still works, and the service ends in order."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sqlalchemy import select

from core.database.tables import Job, JobEvent, JobState, WebhookDelivery, WebhookEvent
from core.database.tables.jobs import TERMINAL
from core.storage.keys import job_prefix
from core.webhooks.deliveries import PENDING
from tests.chaos.clients import Client, Order
from tests.chaos.evidence import Evidence
from tests.chaos.journal import Journal
from tests.chaos.plant import Plant
from tests.chaos.process import processes_about

END_SECONDS = {"worker": 20.0, "dispatcher": 8.0, "api": 15.0}
ROUNDS, JOBS_A_WORKER = 4, 2
ROUND_SECONDS = 30.0
TOLD_SECONDS = 60.0


def rest(plant: Plant, journal: Journal, clients: list[Client], jobs: int) -> Evidence:
    """Wait until all is done, end the service as an operator would, and collect what is left."""
    _all_ended(plant, journal, 60.0 + 1.5 * jobs)
    late, asleep = _roll_call(plant, journal)
    _all_told(plant, journal)
    work = plant.settings.data / "work"
    plant.wait(lambda: plant.wake() and not list(work.glob("*/ftjob-*")), 15)
    folders = [path.name for path in work.glob("*/ftjob-*")]
    endings = _end(plant)
    with plant.harness.begin() as session:
        jobs = [(job.account_id, job.id) for job in session.scalars(select(Job))]
    for account, job_id in jobs:  # as dispatchers do a while after its end; elsewhere nothing may be left
        plant.storage.sweep_abandoned(job_prefix(account, job_id))
    stored = plant.settings.data / "storage"  # where the store is a local one
    folders += [str(path) for path in stored.rglob("*") if path.is_dir() and not any(path.iterdir())]
    mine = {process.pid for process in plant.servers.processes}
    left = [pid for pid in processes_about(plant.settings.data) if pid not in mine]
    return Evidence(plant, journal, [*clients, *late], endings, left, folders, asleep)


def _all_ended(plant: Plant, journal: Journal, seconds: float) -> None:
    began = time.monotonic()
    reached = plant.wait(lambda: plant.count(Job.id, Job.state.not_in(TERMINAL)) == 0, seconds)
    journal.note("rest", reached=reached, seconds=round(time.monotonic() - began, 1))


def _all_told(plant: Plant, journal: Journal) -> None:
    """Wait until no webhook is on its way; after a fourth failure the next try comes in half a minute."""
    began = time.monotonic()
    reached = plant.wait(
        lambda: (
            plant.count(WebhookEvent.id, WebhookEvent.spread_at.is_(None)) == 0
            and plant.count(WebhookDelivery.id, WebhookDelivery.state == PENDING) == 0
        ),
        TOLD_SECONDS,
    )
    journal.note("told", reached=reached, seconds=round(time.monotonic() - began, 1))


def _roll_call(plant: Plant, journal: Journal) -> tuple[list[Client], list[str]]:
    """Order a few jobs more until every worker has taken one; returns who ordered, and the workers that took none."""
    missing = {f"{socket.gethostname()}:{plant.processes[name].pid}": name for name in plant.workers}
    clients = []
    for number in range(ROUNDS):
        if not missing:
            break
        wanted = [
            Order(0, f"after-{number}-{place}", None, None, False, False)
            for place in range(JOBS_A_WORKER * len(plant.workers))
        ]
        client = Client(100 + number, plant.address, plant.keys[0], wanted, 0.0, journal)
        clients.append(client)
        client.thread.start()
        client.thread.join()
        _all_ended(plant, journal, ROUND_SECONDS)
        for actor in _claimers(plant, {job_id for order in wanted for job_id in order.ids}):
            missing.pop(actor, None)
    return clients, sorted(missing.values())


def _claimers(plant: Plant, job_ids: set[str]) -> set[str]:
    with plant.harness.begin() as session:
        claims = select(JobEvent.actor).where(JobEvent.job_id.in_(job_ids), JobEvent.to_state == JobState.RUNNING)
        return set(session.scalars(claims))


def _end(plant: Plant) -> dict[str, float | None]:
    """Stop workers, then dispatchers, then the API; returns how long each took, None where it had to be killed."""
    endings: dict[str, float | None] = {}
    with ThreadPoolExecutor() as threads:
        for names in (plant.workers, plant.dispatchers, ["api"]):
            endings |= zip(names, threads.map(partial(_end_one, plant), names), strict=True)
    return endings


def _end_one(plant: Plant, name: str) -> float | None:
    process = plant.processes[name]
    process.wanted = False
    took = process.end(END_SECONDS[name.partition("-")[0]], dump=name in plant.workers)
    plant.journal.say(f"{name} had to be killed" if took is None else f"{name} ended after {took:.1f} s")
    return took
