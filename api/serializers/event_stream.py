"""A job's events as they happen (server-sent events), without anything lost when a client comes back.

Between them its progress is told. That has no id: a client that comes back is told where the job stands by then.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session, load_only, sessionmaker
from starlette.responses import StreamingResponse

from api.dependencies import Caller
from api.http.stream_limit import StreamLimit
from api.schemas.jobs import JobProgress
from api.serializers.jobs import event_object, progress_object
from core.accounts import api_keys
from core.database.engine import clock
from core.database.tables import Job, JobEvent, jobs
from core.errors import InvalidInput

POLL_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
PROGRESS_SECONDS = 1.0
EVENT_BATCH = 500
# all that is read of a job twice a second
STANDING = (Job.state, Job.stage, Job.progress, Job.course, Job.eta_seconds, Job.heartbeat_at)


def events_after(session: Session, job_id: str, last_event_id: str | None) -> int:
    """Return the number of the last event that the client has seen; 0 for a new client."""
    if last_event_id is None:
        return 0
    seq = session.scalar(select(JobEvent.seq).where(JobEvent.job_id == job_id, JobEvent.id == last_event_id))
    if seq is None:
        raise InvalidInput("Last-Event-ID is not an event of this job.", code="invalid_cursor", param="Last-Event-ID")
    return seq


def stream_events(
    streams: StreamLimit, reading: sessionmaker[Session], caller: Caller, job_id: str, seen: int, *, progress: bool
) -> StreamingResponse:
    """Send the events after number `seen`, the oldest first, until the job has ended; RateLimited beyond the limit.

    With `progress` lines of where the job is stand between them. It breaks off where the caller's key no longer opens
    the account, or the job is deleted.
    """
    streams.check(caller.account)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    lines = _counted(streams, caller.account, _lines(reading, caller.key, job_id, seen, progress=progress))
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


async def _counted(streams: StreamLimit, account: str, lines: AsyncIterator[str]) -> AsyncIterator[str]:
    with streams.counted(account):  # from the first line on: an answer that nobody waits for any more never gets here
        async for line in lines:
            yield line


@dataclass(frozen=True)
class News:
    """What a look at a job has found: its next events, where it stands, and whether it has ended."""

    events: Sequence[JobEvent]
    progress: JobProgress
    ended: bool


class ProgressTold:
    """What a client knows of a job's progress, which is told anew when it has changed, about once a second at most."""

    def __init__(self) -> None:
        self._last: JobProgress | None = None
        self._at = -math.inf

    def line(self, news: News) -> str | None:
        """Return what there is to tell by now; None for nothing new, and for what can wait."""
        # a clock that runs on is no news
        changed = (
            self._last is None or news.progress.model_copy(update={"eta_seconds": self._last.eta_seconds}) != self._last
        )
        if not changed or (not news.ended and time.monotonic() - self._at < PROGRESS_SECONDS):
            return None
        self._last, self._at = news.progress, time.monotonic()
        return f"event: progress\ndata: {news.progress.model_dump_json()}\n\n"


async def _lines(
    reading: sessionmaker[Session], key: str, job_id: str, seen: int, *, progress: bool
) -> AsyncIterator[str]:
    spoken, told = time.monotonic(), ProgressTold()
    while (news := await to_thread.run_sync(_read, reading, key, job_id, seen)) is not None:
        lines = [f"id: {event.id}\ndata: {event_object(event).model_dump_json()}\n\n" for event in news.events]
        seen = news.events[-1].seq if news.events else seen
        if progress and (line := told.line(news)) is not None:
            lines.append(line)
        if not lines and not news.ended and time.monotonic() - spoken > KEEP_ALIVE_SECONDS:
            lines.append(": waiting\n\n")
        for line in lines:
            spoken = time.monotonic()
            yield line
        if news.events:
            continue
        if news.ended:
            yield "event: done\ndata: [DONE]\n\n"
            return
        await asyncio.sleep(POLL_SECONDS)


def _read(reading: sessionmaker[Session], key: str, job_id: str, seen: int) -> News | None:
    """Return what is new of a job; None where the key may not see it any more."""
    with reading.begin() as session:
        # the state first: an event that is written after it is read belongs to a job that had not ended
        here = select(Job, clock(session)).where(Job.id == job_id, Job.deleted_at.is_(None))
        row = session.execute(here.options(load_only(*STANDING))).one_or_none()
        statement = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seen)
        events = session.scalars(statement.order_by(JobEvent.seq).limit(EVENT_BATCH)).all()
        # the key last: what was read before it was revoked is its to see
        if row is None or not api_keys.opens(session, key):
            return None
        job, at = row
        return News(events, progress_object(job, at), job.state in jobs.TERMINAL)
