"""Figures for Prometheus: what this process has answered, and what the database knows of queues, workers and GPU time.

No figure carries an account, a job or any content.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from starlette.responses import PlainTextResponse, Response

from api.dependencies import ServicesDep
from api.http.metrics import REGISTRY
from core.database import counters
from core.database.engine import now
from core.database.tables import Erasure, Job, JobState, Tally, Usage, WebhookDelivery, Worker

router = APIRouter(tags=["health"])
SEEN_SECONDS = 60.0
GPU_BYTES = ("allocated", "peak", "reserved", "used", "total")
Families = Iterable[Metric]
F = TypeVar("F", CounterMetricFamily, GaugeMetricFamily)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(services: ServicesDep) -> Response:
    """Show the figures in Prometheus' text format; keep this address from the outside at the reverse proxy."""
    shared = CollectorRegistry()
    shared.register(Shared(services.reading))
    return Response(generate_latest(REGISTRY) + generate_latest(shared), media_type=CONTENT_TYPE_LATEST)


class Shared(Collector):
    """What all processes share: read from the database when it is asked for."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions

    def collect(self) -> Iterator[Metric]:
        """Yield the figures, and first of all whether the database answered."""
        up = GaugeMetricFamily("albatross_database_up", "Whether the database answered")
        try:
            with self._sessions.begin() as session:
                found = [family for part in PARTS for family in part(session)]
        except SQLAlchemyError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from found


def _jobs(session: Session) -> Families:
    states = GaugeMetricFamily("albatross_jobs", "Jobs by state", labels=["state"])
    rows = {row[0]: row[1] for row in session.execute(select(Job.state, func.count()).group_by(Job.state))}
    for state in JobState:
        states.add_metric([state.lower()], rows.get(state, 0))
    return [states]


def _queue(session: Session) -> Families:
    at = now(session)
    age = GaugeMetricFamily("albatross_queue_age_seconds", "How long the oldest due job has waited", labels=["queue"])
    depth = GaugeMetricFamily("albatross_queue_due_jobs", "Jobs that only wait for a worker", labels=["queue"])
    due = select(Job.queue, func.count(), func.min(Job.created_at)).where(
        Job.state == JobState.QUEUED, Job.not_before <= at
    )
    for queue, count, oldest in session.execute(due.group_by(Job.queue)):
        age.add_metric([queue], max(0.0, at - oldest))
        depth.add_metric([queue], count)
    return [age, depth]


def _workers(session: Session) -> Families:
    seen = GaugeMetricFamily("albatross_workers", "Workers that reported within a minute", labels=["queue", "doing"])
    problem = GaugeMetricFamily(
        "albatross_worker_out_of_service", "Workers that take no jobs, and why", labels=["worker", "code"]
    )
    doing: Counter[tuple[str, str]] = Counter()
    for worker in _present(session):
        if worker.problem is not None:
            problem.add_metric([worker.id, worker.problem["code"]], 1)
        busy = "idle" if worker.job_id is None else "working"
        doing[worker.queue, "out_of_service" if worker.problem is not None else busy] += 1
    for key, count in sorted(doing.items()):
        seen.add_metric(key, count)
    return [seen, problem]


def _gpus(session: Session) -> Families:
    """What trainers tell of their GPUs beside their progress; of a worker that computes nothing there is nothing."""
    memory = GaugeMetricFamily(
        "albatross_gpu_memory_bytes", "Memory of the GPU: of tensors, its peak, held, all", labels=["worker", "kind"]
    )
    busy = GaugeMetricFamily("albatross_gpu_utilization_ratio", "Share of the time it computed", labels=["worker"])
    for worker in _present(session):
        told = worker.gpu or {}
        for kind in GPU_BYTES:
            if told.get(kind) is not None:
                memory.add_metric([worker.id, kind], told[kind])
        if told.get("utilization") is not None:
            busy.add_metric([worker.id], told["utilization"] / 100)
    return [memory, busy]


def _present(session: Session) -> Sequence[Worker]:
    return session.scalars(select(Worker).where(Worker.seen_at > now(session) - SEEN_SECONDS).order_by(Worker.id)).all()


def _usage(session: Session) -> Families:
    spent = CounterMetricFamily("albatross_gpu_seconds", "GPU seconds that attempts have spent", labels=["stage"])
    for stage, seconds in session.execute(select(Usage.stage, func.sum(Usage.seconds)).group_by(Usage.stage)):
        spent.add_metric([stage], seconds)
    return [spent]


def _tallies(session: Session) -> Families:
    counted = {row[0]: row[1] for row in session.execute(select(Tally.name, Tally.count))}
    return [_counter(f"albatross_{name}", HELP[name], counted.get(name, 0)) for name in counters.NAMES]


def _erasures(session: Session) -> Families:
    waiting = GaugeMetricFamily("albatross_erasures_pending", "Erasures that are not done yet")
    waiting.add_metric([], session.scalar(select(func.count()).where(Erasure.done_at.is_(None))) or 0)
    return [waiting]


def _webhooks(session: Session) -> Families:
    waiting = GaugeMetricFamily("albatross_webhooks_pending", "Webhook deliveries that have not ended")
    age = GaugeMetricFamily("albatross_webhook_age_seconds", "How long the oldest webhook delivery has not ended")
    pending = select(func.count(), func.min(WebhookDelivery.created_at)).where(WebhookDelivery.state == "pending")
    count, oldest = session.execute(pending).one()
    waiting.add_metric([], count)
    age.add_metric([], 0.0 if oldest is None else max(0.0, now(session) - oldest))
    return [waiting, age]


def _counter(name: str, words: str, value: float) -> Metric:
    family = CounterMetricFamily(name, words)
    family.add_metric([], value)
    return family


HELP = {
    counters.LEASES_LOST: "Jobs taken back from workers that had gone silent",
    counters.LATE_WRITERS: "Workers that found their job to be somebody else's",
    counters.WAKE_UPS: "Wake-ups that dispatchers have sent",
    counters.WAKE_UPS_REFUSED: "Rounds in which the broker took no wake-up",
    counters.ERASURES: "Erasures that were completed",
    counters.WEBHOOKS_DELIVERED: "Webhook deliveries that were taken",
    counters.WEBHOOK_TRIES_FAILED: "Tries of webhook deliveries that were not taken",
    counters.WEBHOOKS_GIVEN_UP: "Webhook deliveries that were given up after the last try",
    counters.WEBHOOK_ENDPOINTS_DISABLED: "Webhook endpoints that were disabled because they took nothing",
}
PARTS: tuple[Callable[[Session], Families], ...] = (
    *(_jobs, _queue, _workers, _gpus, _usage),
    *(_tallies, _erasures, _webhooks),
)
