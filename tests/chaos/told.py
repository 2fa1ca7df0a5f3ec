"""What was promised of webhooks: every end of a job is told to its account, and to no other, under one id."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

from core.database.tables import Job, JobState
from core.database.tables.jobs import TERMINAL
from core.webhooks import events as webhooks
from core.webhooks.deliveries import DELIVERED
from tests.chaos.check import Check, spread
from tests.chaos.evidence import Evidence
from tests.receiver import Arrived


def webhooks_told(evidence: Evidence, long: bool) -> Check:
    """Every end has arrived at least once, at its account's own address, as what it was."""
    events = {event.job_id: event.id for event in evidence.told}
    arrived = Counter(one.headers["webhook-id"] for one in evidence.plant.receiver.arrived)
    ended = [job for job in evidence.jobs.values() if job.state in TERMINAL]
    untold = [job.id for job in ended if not arrived[events.get(job.id, "")]]
    wrong = [one.json() for one in evidence.plant.receiver.arrived if not _right(evidence.jobs, events, one)]
    undelivered = [row.id for row in evidence.deliveries if row.state != DELIVERED]
    created = {event.id: event.created_at for event in evidence.told}
    times = [row.ended_at - created[row.event_id] for row in evidence.deliveries if row.ended_at is not None]
    words = (
        f"{len(ended)} ends, told in {arrived.total()} requests with {len(arrived)} ids; {spread(times)}; "
        f"{len(untold)} untold, {len(wrong)} wrong, {len(undelivered)} not delivered by their log"
    )
    figures = {"untold": untold, "wrong": wrong, "undelivered": undelivered}
    return Check("    every end is told", bool(ended) and not any(figures.values()), words, figures)


def _right(jobs: dict[str, Job], events: dict[str | None, str], one: Arrived) -> bool:
    told = one.json()
    job = jobs.get(told["data"]["id"])
    if job is None:
        return False
    expected = (events.get(job.id), webhooks.ENDS.get(JobState(job.state)), job.account_id)
    return expected == (one.headers["webhook-id"], told["type"], urlsplit(one.path).path.strip("/"))
