"""All that is left of a storm, read once: the tables, what clients and troubles noted, and every step of a trainer."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select

from core.database.invariants import broken_invariants
from core.database.tables import (
    Adapter,
    Artifact,
    Checkpoint,
    File,
    Idempotency,
    Job,
    JobEvent,
    WebhookDelivery,
    WebhookEvent,
)
from core.errors import AlbatrossError
from tests.chaos.clients import Call, Client, Order
from tests.chaos.journal import Journal
from tests.chaos.plant import Plant
from tests.chaos.trainer import POISON

Row = TypeVar("Row")


@dataclass
class Evidence:
    """What the verdict is made from."""

    plant: Plant
    journal: Journal
    clients: list[Client]
    endings: dict[str, float | None]
    left_processes: list[int]
    left_folders: list[str]
    asleep: list[str]

    def __post_init__(self) -> None:
        self.jobs = {job.id: job for job in self._rows(Job)}
        self.adapters, self.artifacts = self._rows(Adapter), self._rows(Artifact)
        self.checkpoints, self.files, self.repetitions = (
            self._rows(Checkpoint),
            self._rows(File),
            self._rows(Idempotency),
        )
        self.told, self.deliveries = self._rows(WebhookEvent), self._rows(WebhookDelivery)
        self.events: dict[str, list[JobEvent]] = {job_id: [] for job_id in self.jobs}
        for event in sorted(self._rows(JobEvent), key=lambda event: event.seq):
            self.events[event.job_id].append(event)
        with self.plant.harness.begin() as session:
            self.broken = broken_invariants(session)

    @property
    def orders(self) -> list[Order]:
        """What all clients wanted."""
        return [order for client in self.clients for order in client.orders]

    @property
    def calls(self) -> list[Call]:
        """What all clients asked."""
        return [call for client in self.clients for call in client.calls]

    def in_state(self, state: str) -> list[Job]:
        """Return the jobs in a state."""
        return [job for job in self.jobs.values() if job.state == state]

    def poisoned(self, job: Job) -> bool:
        """Tell whether a job kills its workers on purpose."""
        return job.suffix == POISON

    def steps(self) -> Counter[tuple[str, str, str]]:
        """Count how often every step was done, by job, stage and step; poisoned jobs are left out."""
        lines = (self.plant.settings.data / "pools/steps").read_text().splitlines()
        done = [line.split() for line in lines]
        return Counter(
            (job, stage, step) for job, _, stage, step in done if job in self.jobs and not self.poisoned(self.jobs[job])
        )

    def torn_objects(self) -> list[str]:
        """Fetch everything that succeeded jobs refer to, without weather; returns what is not as it was registered."""
        succeeded = {job.id for job in self.in_state("SUCCEEDED")}
        rows: list[Artifact | Checkpoint | File] = [*self.artifacts, *self.checkpoints, *self.files]
        wanted = {row.storage_key: (row.sha256, row.bytes) for row in rows if row.job_id in succeeded}
        self.objects = len(wanted)
        return [key for key, fact in wanted.items() if self._fact(key) != fact]

    def content(self, key: str) -> bytes:
        """Read a stored object."""
        with self.plant.storage.open(key) as stored:
            return stored.read()

    def _fact(self, key: str) -> tuple[str, int] | None:
        try:
            content = self.content(key)
        except AlbatrossError:
            return None
        return hashlib.sha256(content).hexdigest(), len(content)

    def _rows(self, table: type[Row]) -> list[Row]:
        with self.plant.harness.begin() as session:
            return list(session.scalars(select(table)))
