"""What a dispatcher does with jobs: it takes them back from lost workers, ends overdue ones, and finds who is due."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Job, JobState
from core.jobs import standing
from core.jobs.event_codes import EventCode
from core.jobs.states import end_failed, stop_if_asked, transition

WORKER_LOST = (
    "The worker was lost; the job waits for another. It is crash {number} of at most {most} {place}: those before the "
    "job got so far don't count, nor will this one when it gets further."
)


def reap(session: Session, max_crashes: int) -> list[str]:
    """Take back the jobs whose lease has run out; returns their ids. Any number of reapers may race."""
    lost = select(Job).where(Job.state == JobState.RUNNING, Job.lease_until < now(session)).order_by(Job.id)
    rows = session.scalars(lost.with_for_update(skip_locked=True).execution_options(populate_existing=True)).all()
    for job in rows:
        job.crash_count += 1
        if stop_if_asked(session, job, actor="dispatcher"):
            continue
        place = standing.place(job)
        if job.crash_count >= max_crashes:
            times = "" if job.crash_count == 1 else f" {job.crash_count} times at the same place,"
            message = f"The worker crashed{times} {place}. {standing.advice(job)}"
            end_failed(session, job, "worker_crashed", message, actor="dispatcher")
        else:
            words = WORKER_LOST.format(number=job.crash_count, most=max_crashes, place=place)
            transition(
                session, job, JobState.QUEUED, words, code=EventCode.WORKER_LOST, level="warn", actor="dispatcher"
            )
    return [job.id for job in rows]


def expire(session: Session) -> int:
    """End queued jobs whose deadline has passed; returns how many."""
    late = select(Job).where(Job.state == JobState.QUEUED, Job.deadline_at < now(session)).order_by(Job.id)
    rows = session.scalars(late.with_for_update(skip_locked=True).execution_options(populate_existing=True)).all()
    for job in rows:
        job.error_code = "deadline_exceeded"
        job.error_message = "The job's deadline passed before a worker was free. Create it again, or add workers."
        words, code = job.error_message, EventCode.EXPIRED
        transition(session, job, JobState.EXPIRED, words, code=code, level="error", actor="dispatcher")
    return len(rows)


def due(session: Session, *, wake_again_seconds: float) -> Sequence[tuple[str, int]]:
    """Queues with jobs that should get a wake-up now, and how many; marks those jobs as dispatched."""
    at = now(session)
    waiting = (Job.state == JobState.QUEUED) & (Job.not_before <= at)
    stale = Job.dispatched_at.is_(None) | (Job.dispatched_at < at - wake_again_seconds)
    rows = session.execute(select(Job.queue, func.count()).where(waiting, stale).group_by(Job.queue)).all()
    if rows:
        session.execute(update(Job).where(waiting, stale).values(dispatched_at=at))
    return [(str(queue), int(count)) for queue, count in rows]
