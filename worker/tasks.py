"""The one Celery task: a wake-up, upon which the worker takes jobs from the database until there are none."""

from __future__ import annotations

import logging
import os
import shutil
import time
from functools import cache, partial
from pathlib import Path

from celery import shared_task
from sqlalchemy.exc import SQLAlchemyError

from core.database.engine import connect, sessions
from core.database.tables import Job, Worker
from core.erasure import scratch
from core.jobs import leases
from core.runtime.broker import WAKE, worker_id
from core.runtime.broker import wake as wake_another
from core.settings import Settings
from core.storage.factory import storage
from worker.fitness import Fitness
from worker.occupation import occupied
from worker.supervision.gpu.health import DeviceHealth
from worker.supervision.supervisor import Supervisor
from worker.supervision.workplace import Workplace
from worker.trainer.probe import probe
from worker.trainer.process import WarmTrainer

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5  # between two looks of a worker out of service


def drain_file(settings: Settings, pid: int) -> Path:
    """Name the file whose presence tells the worker's child to hand back its job; signals do not reach it."""
    return settings.data / "work" / f"drain-{worker_id(pid)}"


def fitness(settings: Settings, pid: int) -> Fitness:
    """Name the note that says why the worker takes no jobs."""
    return Fitness(settings.data / "work" / f"unfit-{worker_id(pid)}")


def busy_file(settings: Settings, pid: int) -> Path:
    """Name the file that the worker's child has locked while it works."""
    return settings.data / "work" / f"busy-{worker_id(pid)}"


@cache
def workplace() -> Workplace:
    """Open what this process needs for all of its jobs."""
    settings, parent = Settings(), os.getppid()
    return Workplace(
        settings,
        sessions(connect(settings.database)),
        storage(settings),
        WarmTrainer(settings),
        worker_id(parent),
        drain_file(settings, parent).exists,
        DeviceHealth(fitness(settings, parent), partial(probe, settings)),
    )


@shared_task(name=WAKE, acks_late=False, ignore_result=True)
def wake() -> None:
    """Take jobs and work on them, one after the other, until none is due or the worker is told to stop."""
    try:
        place, working = workplace(), True
        while working:
            with occupied(busy_file(place.settings, os.getppid())):
                _take_jobs(place)
            working = wait_out_of_service(place)
    except Exception:  # Celery would log what the error says
        log.exception("the work was left; the job goes back to the queue when its lease ends")


def wait_out_of_service(place: Workplace) -> bool:
    """Stay here while the worker is out of service, as who works is sent no wake-up; tell whether to work again.

    The wake-up that came is for a worker that is in service.
    """
    if place.health.fit:
        return False
    place.trainer.discard()
    wake_another(place.settings.queue)
    while not place.health.fit and not place.draining():
        time.sleep(LOOK_SECONDS)
    return not place.draining()


def _take_jobs(place: Workplace) -> None:
    try:
        scratch.sweep(place.settings.data, place.sessions)
    except (SQLAlchemyError, OSError) as error:
        log.warning("dead attempts could not be swept: %s", type(error).__name__)
    while place.health.fit and not place.draining() and (job := take(place)) is not None:
        Supervisor(job, place).run()
        show_job(place, None)


def take(place: Workplace) -> Job | None:
    """Claim the next job; None where there is none, where the disk is full, or where the database is away.

    The dispatcher will wake us again.
    """
    settings = place.settings
    if shutil.disk_usage(settings.data).free < settings.min_free_bytes:
        log.warning("no job is taken: less than %d bytes are free on the disk", settings.min_free_bytes)
        return None
    try:
        with place.sessions.begin() as session:
            job = leases.claim(
                session,
                queue=settings.queue,
                worker_id=place.worker_id,
                lease_seconds=settings.lease_seconds,
                account_job_limit=settings.account_job_limit,
            )
    except SQLAlchemyError as error:
        log.warning("no job could be claimed: %s", type(error).__name__)
        return None
    if job is not None:
        show_job(place, job.id)
    return job


def show_job(place: Workplace, job_id: str | None) -> None:
    """Show in the worker's row what it works on; only for people to see."""
    try:
        with place.sessions.begin() as session:
            row = session.get(Worker, place.worker_id)
            if row is not None:
                row.job_id = job_id
    except SQLAlchemyError as error:
        log.warning("the worker's row could not be written: %s", type(error).__name__)
