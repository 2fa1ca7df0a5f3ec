"""The tables. Times are unix seconds; identifiers are prefixed random strings."""

from core.models.accounts import Account, ApiKey, Audit, Erasure, Usage
from core.models.base import Json, Table, new_id
from core.models.files import File
from core.models.jobs import Adapter, Artifact, Checkpoint, Idempotency, Job, JobEvent, JobState, Metric, model_name
from core.models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.models.workers import Measurement, Tally, Worker

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
