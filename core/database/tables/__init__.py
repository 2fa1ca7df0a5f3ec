"""The tables. Times are unix seconds; identifiers are prefixed random strings."""

from core.database.tables.accounts import Account, ApiKey, Audit, Erasure, Reservation, Usage
from core.database.tables.base import Json, Table, new_id
from core.database.tables.files import File
from core.database.tables.jobs import (
    Adapter,
    Artifact,
    Checkpoint,
    Idempotency,
    Job,
    JobEvent,
    JobState,
    Metric,
    model_name,
)
from core.database.tables.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.database.tables.workers import Measurement, Tally, Worker

__all__ = [
    "Account",
    "Adapter",
    "ApiKey",
    "Artifact",
    "Audit",
    "Checkpoint",
    "Erasure",
    "File",
    "Idempotency",
    "Job",
    "JobEvent",
    "JobState",
    "Json",
    "Measurement",
    "Metric",
    "Reservation",
    "Table",
    "Tally",
    "Usage",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "Worker",
    "model_name",
    "new_id",
]
