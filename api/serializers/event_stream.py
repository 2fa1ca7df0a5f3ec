"""A job's events as they happen (server-sent events), without anything lost when a client comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from starlette.responses import StreamingResponse

from api.dependencies import Caller
from api.http.stream_limit import StreamLimit
from api.serializers.jobs import event_object
from core.accounts import api_keys
from core.database.tables import Job, JobEvent, jobs
from core.errors import InvalidInput

POLL_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
EVENT_BATCH = 500


def events_after(session: Session, job_id: str, last_event_id: str | None) -> int:
    """Return the number of the last event that the client has seen; 0 for a new client."""
    if last_event_id is None:
        return 0
    seq = session.scalar(select(JobEvent.seq).where(JobEvent.job_id == job_id, JobEvent.id == last_event_id))
    if seq is None:
        raise InvalidInput("Last-Event-ID is not an event of this job.", code="invalid_cursor", param="Last-Event-ID")
    return seq


def stream_events(
    streams: StreamLimit, reading: sessionmaker[Session], caller: Caller, job_id: str, seen: int
) -> StreamingResponse:
    """Send the events after number `seen`, the oldest first, until the job has ended; RateLimited beyond the limit.

    It breaks off where the caller's key no longer opens the account, or the job is deleted.
    """
    streams.check(caller.account)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    lines = _counted(streams, caller.account, _lines(reading, caller.key, job_id, seen))
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


async def _counted(streams: StreamLimit, account: str, lines: AsyncIterator[str]) -> AsyncIterator[str]:
    with streams.counted(account):  # from the first line on: an answer that nobody waits for any more never gets here
        async for line in lines:
            yield line


async def _lines(reading: sessionmaker[Session], key: str, job_id: str, seen: int) -> AsyncIterator[str]:
    spoken = time.monotonic()
    while (news := await to_thread.run_sync(_read, reading, key, job_id, seen)) is not None:
        events, ended = news
        for event in events:
            seen = event.seq
            yield f"id: {event.id}\ndata: {event_object(event).model_dump_json()}\n\n"
        if events:
            spoken = time.monotonic()
        elif ended:
            yield "event: done\ndata: [DONE]\n\n"
            return
        elif time.monotonic() - spoken > KEEP_ALIVE_SECONDS:
            spoken = time.monotonic()
            yield ": waiting\n\n"
        if not events:
            await asyncio.sleep(POLL_SECONDS)


def _read(reading: sessionmaker[Session], key: str, job_id: str, seen: int) -> tuple[Sequence[JobEvent], bool] | None:
    """Return the next events, and whether the job has ended; None where the key may not see it any more."""
    with reading.begin() as session:
        # the state first: an event that is written after it is read belongs to a job that had not ended
        state = session.scalar(select(Job.state).where(Job.id == job_id, Job.deleted_at.is_(None)))
        statement = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seen)
        events = session.scalars(statement.order_by(JobEvent.seq).limit(EVENT_BATCH)).all()
        # the key last: what was read before it was revoked is its to see
        seen_no_more = state is None or not api_keys.opens(session, key)
        return None if seen_no_more else (events, state in jobs.TERMINAL)
