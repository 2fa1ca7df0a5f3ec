"""How long a new job will wait for a worker: what runs and what stands before it, shared among the workers."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.backbones.registry import Registry
from core.database.engine import now
from core.database.tables import Job, JobState, Worker
from core.errors import AlbatrossError
from core.estimates.estimator import Estimator
from core.estimates.sizes import JobSize
from core.estimates.summaries import Summary, files_of
from core.parameters.parameters import Parameters
from core.parameters.request import stored_request
from core.parameters.service_defaults import ServiceDefaults
from core.parameters.summary import ReferenceSummary
from core.settings import Settings

MAX_JOBS_AHEAD = 200  # jobs that are looked at one by one; those behind them take as long as these on average
Foretell = Callable[[Job], float]


@dataclass(frozen=True)
class Waiting:
    """What stands before a new job; `seconds` is None while no worker is there to tell from."""

    ahead: int
    running: int
    workers: int
    seconds: float | None


def waiting(session: Session, settings: Settings, foretell: Foretell) -> Waiting:
    """Look at the service's queue; `foretell` gives the seconds that a whole job takes.

    Jobs are taken as they came. Accounts take turns in truth, so an account with few jobs waits for less.
    """
    at = now(session)
    workers = present(session, settings)
    here = select(Job).where(Job.queue == settings.queue)
    running = session.scalars(here.where(Job.state == JobState.RUNNING)).all()
    queued = session.scalars(
        here.where(Job.state == JobState.QUEUED, Job.priority >= 0, Job.deleted_at.is_(None)).order_by(
            Job.priority.desc(), Job.created_at, Job.id
        )
    ).all()
    if not workers:
        return Waiting(len(queued), len(running), 0, None)
    free = [_left(job, at, foretell) for job in running][: len(workers)]
    free += [0.0] * (len(workers) - len(free))
    first = [foretell(job) for job in queued[:MAX_JOBS_AHEAD]]
    mean = sum(first) / len(first) if first else 0.0
    seconds = next_free(free, [*first, *[mean] * (len(queued) - len(first))])
    return Waiting(len(queued), len(running), len(workers), seconds)


def next_free(free: Sequence[float], ahead: Sequence[float]) -> float:
    """Return when a worker is free for the next job; `free` is when each is now, `ahead` what is taken before."""
    places = list(free)
    heapq.heapify(places)
    for seconds in ahead:
        heapq.heappush(places, heapq.heappop(places) + seconds)
    return places[0]


def present(session: Session, settings: Settings) -> list[Worker]:
    """Return the workers of the service's queue that live and take jobs."""
    since = now(session) - settings.lease_seconds
    alive = select(Worker).where(Worker.queue == settings.queue, Worker.seen_at > since, Worker.draining.is_(False))
    return list(session.scalars(alive.where(Worker.problem.is_(None))))


def usual_device(workers: Sequence[Worker]) -> str | None:
    """Return the device that most workers have; None where none has said."""
    devices = Counter(worker.device for worker in workers if worker.device is not None)
    return devices.most_common(1)[0][0] if devices else None


def _left(job: Job, at: float, foretell: Foretell) -> float:
    """Return the seconds until a running job ends."""
    if job.eta_seconds is not None:
        return max(0.0, job.eta_seconds - (at - (job.heartbeat_at or at)))
    return max(0.0, foretell(job) - (at - (job.started_at or at)))


class QueuedJobs:
    """Foretells the jobs that stand before a new one from what their rows say; none of their files is opened."""

    def __init__(self, session: Session, registry: Registry, defaults: ServiceDefaults, device: str | None) -> None:
        self._session, self._registry, self._defaults, self._device = session, registry, defaults, device
        self._estimators: dict[str, Estimator | None] = {}

    def seconds(self, job: Job) -> float:
        """Return the seconds of a whole job; 0 for one that will fail at once."""
        estimator = self._estimator(job.backbone)
        if estimator is None:
            return 0.0
        count = Summary(sum(file.items for file in files_of(self._session, job.training_files)))
        try:
            parameters = self._parameters(job, estimator, count.for_resolving(estimator.record.kind))
            return estimator.forecast(JobSize.of(parameters), estimator.data(count.count)).seconds.expected
        except (AlbatrossError, ArithmeticError, TypeError, ValueError):  # one odd job must not take it from all others
            return 0.0

    def _parameters(self, job: Job, estimator: Estimator, summary: ReferenceSummary) -> Parameters:
        if job.parameters is not None:
            return Parameters.model_validate(job.parameters)
        request = stored_request(job.request)
        return self._defaults.resolve(
            request.bat_or_defaults(), request.chosen(), backbone=estimator.record, summary=summary, seed=job.seed
        )

    def _estimator(self, backbone: str) -> Estimator | None:
        if backbone not in self._estimators:
            try:
                record = self._registry.get(backbone)
                self._estimators[backbone] = Estimator.of(self._session, record, self._device)
            except AlbatrossError:
                self._estimators[backbone] = None
        return self._estimators[backbone]
