"""A job's history: one numbered event after the other, and the findings that its owner is told of."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Job, JobEvent, Json
from core.findings.finding import Finding
from core.jobs.event_codes import EventCode


def record(
    session: Session,
    job_id: str,
    message: str,
    *,
    code: EventCode,
    actor: str,
    level: str = "info",
    type: str = "message",
    data: Json | None = None,
    from_state: str | None = None,
    to_state: str | None = None,
    stage: str | None = None,
    attempt: int | None = None,
) -> JobEvent:
    """Append one event, its code and stage in its data.

    `type` is one of the two that OpenAI's clients know. Numbers are dense and appear in their order, since writers of
    one job wait for each other.
    """
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    last = session.scalar(select(func.max(JobEvent.seq)).where(JobEvent.job_id == job_id)) or 0
    event = JobEvent(
        job_id=job_id,
        seq=last + 1,
        created_at=now(session),
        level=level,
        type=type,
        message=message.replace("\0", ""),  # PostgreSQL has no such character
        data=coded(code, data, stage),
        from_state=from_state,
        to_state=to_state,
        stage=stage,
        attempt=attempt,
        actor=actor,
    )
    session.add(event)
    session.flush()
    return event


def coded(code: EventCode, data: Json | None = None, stage: str | None = None) -> Json:
    """Return the data of an event: what it is, in which stage, and what belongs to it."""
    return {**(data or {}), "code": code, **({"stage": stage} if stage else {})}


def tell(
    session: Session, job: Job, finding: Finding, *, actor: str, attempt: int | None = None, stage: str | None = None
) -> None:
    """Add a finding to a locked or new job, with an event; what was told before is not told again."""
    row = asdict(finding)
    if row in job.findings:
        return
    job.findings = [*job.findings, row]
    record(
        session,
        job.id,
        f"{finding.message} {finding.fix}",
        code=EventCode.FINDING,
        level=finding.severity,
        data={"finding": row},
        actor=actor,
        attempt=attempt,
        stage=stage,
    )
