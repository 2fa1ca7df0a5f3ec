"""The events that webhooks tell of: one for each end of a job, and the bytes that are sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Job, JobState, Json, WebhookEvent

SAMPLE_JOB = "ftjob-sample"


class EventType(StrEnum):
    """What endpoints may ask to be told of."""

    SUCCEEDED = "fine_tuning.job.succeeded"
    FAILED = "fine_tuning.job.failed"
    CANCELLED = "fine_tuning.job.cancelled"


ENDS: Mapping[JobState, EventType] = {
    JobState.SUCCEEDED: EventType.SUCCEEDED,
    JobState.FAILED: EventType.FAILED,
    JobState.CANCELLED: EventType.CANCELLED,
    JobState.EXPIRED: EventType.FAILED,
}


def announce(session: Session, job: Job) -> None:
    """Write the event of a job's end, in the transaction that ends it."""
    at = job.finished_at if job.finished_at is not None else now(session)
    event = WebhookEvent(account_id=job.account_id, job_id=job.id, type=ENDS[JobState(job.state)], created_at=at)
    session.add(event)


def payload(event: WebhookEvent) -> Json:
    """Return what an endpoint is told; the same whenever it is asked for."""
    return {
        "id": event.id,
        "object": "event",
        "created_at": int(event.created_at),
        "type": event.type,
        "data": {"id": event.job_id or SAMPLE_JOB},
    }


def body(event: WebhookEvent) -> bytes:
    """Return the bytes that are sent, and signed."""
    return json.dumps(payload(event), separators=(",", ":")).encode()
