"""A job's history and curves: events, metrics, stored files and kept checkpoints, all fenced by the epoch."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.database import now
from core.models import Artifact, Checkpoint, Job, JobEvent, Json, Metric


def record(
    session: Session, job_id: str, message: str, *, level: str = "info", type: str = "message", data: Json | None = None,
    from_state: str | None = None, to_state: str | None = None, stage: str | None = None, epoch: int | None = None,
    actor: str,
) -> JobEvent:  # fmt: skip
    """Append one event; numbers are dense and grow. The job's row must be locked or written by this transaction."""
    last = session.scalar(select(func.max(JobEvent.seq)).where(JobEvent.job_id == job_id)) or 0
    event = JobEvent(
        job_id=job_id, seq=last + 1, created_at=now(session), level=level, type=type, message=message, data=data,
        from_state=from_state, to_state=to_state, stage=stage, epoch=epoch, actor=actor,
    )  # fmt: skip
    session.add(event)
    session.flush()
    return event


def holds(session: Session, job_id: str, epoch: int) -> bool:
    """Whether the claim with this epoch still runs the job; locks the row on PostgreSQL until the transaction ends."""
    statement = select(Job.id).where(Job.id == job_id, Job.epoch == epoch, Job.state == "RUNNING")
    return session.scalar(statement.with_for_update()) is not None


def report(
    session: Session, job_id: str, epoch: int, message: str, *, level: str = "info", data: Json | None = None,
    stage: str | None = None,
) -> bool:  # fmt: skip
    """Append an event of the worker that holds the lease; False where it has lost it."""
    if not holds(session, job_id, epoch):
        return False
    record(session, job_id, message, level=level, data=data, stage=stage, epoch=epoch, actor="worker")
    return True


def add_metrics(session: Session, job_id: str, epoch: int, stage: str, rows: Sequence[Json]) -> bool:
    """Write rows of a curve, each with its `step`; rows of an earlier attempt at the same steps are replaced."""
    if not holds(session, job_id, epoch):
        return False
    at = now(session)
    steps = [int(row["step"]) for row in rows]
    session.execute(delete(Metric).where(Metric.job_id == job_id, Metric.stage == stage, Metric.step.in_(steps)))
    session.add_all(
        Metric(job_id=job_id, stage=stage, step=int(row["step"]), epoch=epoch, created_at=at,
               data={name: value for name, value in row.items() if name != "step"})
        for row in rows
    )  # fmt: skip
    return True


def add_artifacts(session: Session, job_id: str, epoch: int, artifacts: Sequence[Artifact]) -> bool:
    """Register stored files of the job, replacing those of the same name from an earlier attempt."""
    if not holds(session, job_id, epoch):
        return False
    at = now(session)
    for artifact in artifacts:
        artifact.job_id, artifact.epoch, artifact.created_at = job_id, epoch, at
        session.merge(artifact)
    return True


def add_checkpoints(session: Session, job_id: str, epoch: int, checkpoints: Sequence[Checkpoint]) -> bool:
    """Register the kept steps of the finished training, replacing those of an earlier attempt."""
    if not holds(session, job_id, epoch):
        return False
    session.execute(delete(Checkpoint).where(Checkpoint.job_id == job_id))
    at = now(session)
    for checkpoint in checkpoints:
        checkpoint.job_id, checkpoint.epoch, checkpoint.created_at = job_id, epoch, at
        session.add(checkpoint)
    return True
