"""Places in the queue: how many waiting jobs stand before each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session, aliased

from core.database.engine import ROWS
from core.database.tables import Job, JobState

_AHEAD = aliased(Job)
_WAITING = select(ROWS).where(_AHEAD.queue == Job.queue, _AHEAD.state == JobState.QUEUED).correlate(Job)
_MORE_URGENT = _WAITING.where(_AHEAD.priority > Job.priority).scalar_subquery()
_OLDER = _WAITING.where(_AHEAD.priority == Job.priority, _AHEAD.created_at < Job.created_at).scalar_subquery()
# built once, because every look at a queued job asks it
# two counts, because each reads one stretch of the index ix_job_claim; with OR all that wait are read
_POSITIONS = select(Job.id, _MORE_URGENT + _OLDER).where(
    Job.id.in_(bindparam("job_ids", expanding=True)), Job.state == JobState.QUEUED
)


# of many jobs at once: one look through all that wait, instead of two counts for each
_RANKED = select(
    Job.id.label("id"),
    (
        func.rank().over(partition_by=Job.queue, order_by=(Job.priority.desc(), Job.created_at)) - 1  # equals share one
    ).label("place"),
).where(Job.state == JobState.QUEUED)
_FEW = 8


def queue_positions(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    """How many jobs of the queue stand before each of these that has not begun."""
    if len(job_ids) <= _FEW:
        return {row[0]: row[1] for row in session.execute(_POSITIONS, {"job_ids": job_ids})}
    queues = select(Job.queue).where(Job.id.in_(job_ids), Job.state == JobState.QUEUED).distinct()
    ranked = _RANKED.where(Job.queue.in_(queues)).subquery()
    rows = session.execute(select(ranked.c.id, ranked.c.place).where(ranked.c.id.in_(job_ids)))
    return {row[0]: row[1] for row in rows}
