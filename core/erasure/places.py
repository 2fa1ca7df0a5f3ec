"""Which machines may hold something of what is erased, and whether each has swept since nothing works on it."""

from __future__ import annotations

import socket
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, false, select
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Adapter, Erasure, Job, JobState, Json, Worker
from core.database.tables.jobs import ACTIVE

OF_A_JOB = ("job", "model")
ENDED = "jobs"  # the note of when nothing worked on the thing any more
AWAY = "its worker erases what is left there when it starts again"


@dataclass(frozen=True)
class Place:
    """A data folder on a machine."""

    host: str
    data: str

    @classmethod
    def here(cls, data: Path) -> Place:
        """Return this machine's."""
        return cls(socket.gethostname(), str(data))


def worked_on(session: Session, erasure: Erasure, present_seconds: float) -> bool:
    """Tell whether a job of the thing is active, or a worker that lives has not left one yet.

    A job that publishes a kept step of one has its files on the worker while it runs.
    """
    which = _jobs(session, erasure)
    if erasure.kind != "file" and session.scalar(select(Job.id).where(which, Job.state.in_(ACTIVE)).limit(1)):
        return True
    lately = Worker.seen_at > now(session) - present_seconds
    held = select(Job).join(Worker, Worker.job_id == Job.id, isouter=True)
    running = lately | (Job.state == JobState.RUNNING)  # its worker's row may have failed to say so
    held = held.where(which | _publishing(session, erasure), running)
    jobs = session.scalars(held).all()
    if erasure.kind == "file":
        return any(erasure.target in (*job.training_files, job.validation_file) for job in jobs)
    return bool(jobs)


def _jobs(session: Session, erasure: Erasure) -> ColumnElement[bool]:
    if erasure.kind in OF_A_JOB:
        return Job.id == _job(session, erasure)
    return Job.account_id == erasure.account_id


def _publishing(session: Session, erasure: Erasure) -> ColumnElement[bool]:
    """Choose the jobs that publish a kept step of what is erased."""
    return Job.published_from_job == _job(session, erasure) if erasure.kind in OF_A_JOB else false()


def _job(session: Session, erasure: Erasure) -> str:
    """Return the job that is erased, or whose model."""
    if erasure.kind == "job":
        return erasure.target
    return session.scalar(select(Adapter.job_id).where(Adapter.id == erasure.target)) or ""


def note_ended(erasure: Erasure, at: float) -> float:
    """Note since when nothing works on the thing; the first time counts."""
    for entry in erasure.looked_at:
        if entry["place"] == ENDED:
            return float(entry["ended_by"])
    erasure.looked_at = [*erasure.looked_at, {"place": ENDED, "ended_by": at}]
    return at


def looked_at(
    session: Session, since: float, here: Place, swept_at: float, present_seconds: float
) -> list[Json] | None:
    """Return an entry for each place, this one among them; None while a worker that lives has not swept since.

    One that is away can't be waited for: it is named, and erases what it holds when it comes back.
    """
    at, workers = now(session), defaultdict[Place, list[Worker]](list)
    for worker in session.scalars(select(Worker).order_by(Worker.host, Worker.data, Worker.id)):
        workers[Place(worker.host, worker.data or "")].append(worker)
    entries: list[Json] = [{"place": "scratch", "host": here.host, "at": swept_at}]
    for place, rows in workers.items():
        swept, seen = max(row.swept_at or 0.0 for row in rows), max(row.seen_at for row in rows)
        if place == here:
            continue
        if swept >= since:
            entries.append({"place": "scratch", "host": place.host, "at": swept})
        elif place.data and seen > at - present_seconds:
            return None
        else:  # one that names no folder is of an older version
            entries.append({"place": "scratch", "host": place.host, "away_since": seen, "remains": AWAY})
    return entries
