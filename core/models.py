"""The tables. Times are unix seconds; identifiers are prefixed random strings."""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = dict[str, Any]
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class JobState(StrEnum):
    """Where a job is; only the moves of core.jobs.MOVES happen."""

    QUEUED = "QUEUED"  # waits for a worker
    RUNNING = "RUNNING"  # a worker holds its lease
    PAUSED = "PAUSED"  # waits for its owner
    SUCCEEDED = "SUCCEEDED"  # its adapter is published
    FAILED = "FAILED"  # ended with an error code
    CANCELLED = "CANCELLED"  # ended by its owner
    EXPIRED = "EXPIRED"  # its deadline passed before it began


def new_id(prefix: str) -> str:
    """A fresh identifier: the prefix and 24 random letters and digits (124 bits)."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(24))


class Table(DeclarativeBase):
    """Base of the tables; named constraints, so that migrations can name them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # SQLAlchemy would otherwise write None as the JSON text "null"
    type_annotation_map = {  # noqa: RUF012
        float: Double(),
        str: String(255),
        Json: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        list[Json]: JSON(none_as_null=True),
    }


class Account(Table):
    """Who owns files, jobs and adapters. A limit of None is the service's default."""

    __tablename__ = "account"
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("acct-"))
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]
    served_at: Mapped[float | None]  # when a worker last took one of its jobs
    erased_at: Mapped[float | None]  # from then on its keys open nothing
    bytes_limit: Mapped[int | None] = mapped_column(BigInteger)
    gpu_seconds_limit: Mapped[float | None]


class ApiKey(Table):
    """One key of an account; only the hash of its secret is kept."""

    __tablename__ = "api_key"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    name: Mapped[str]
    secret_sha256: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(default=lambda: ["read", "write"])
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class File(Table):
    """An upload, or a result that a job has published as a file."""

    __tablename__ = "file"
    __table_args__ = (Index("ix_file_account_id_created_at", "account_id", "created_at", "id"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("file-"))
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    storage_key: Mapped[str] = mapped_column(Text)
    status: Mapped[str]
    status_details: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str | None]
    items: Mapped[int] = mapped_column(default=0)
    findings: Mapped[list[Json]] = mapped_column(default=list)
    profile: Mapped[Json | None] = mapped_column(deferred=True)  # of core.profiles; lists of files do without it
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    deleted_at: Mapped[float | None]
    job_id: Mapped[str | None]


class Job(Table):
    """One request for an adapter. `epoch` is the fencing token: it grows with every claim."""

    __tablename__ = "job"
    __table_args__ = (
        Index("ix_job_claim", "queue", "state", "priority", "created_at"),
        Index("ix_job_account_id_created_at", "account_id", "created_at", "id"),
        CheckConstraint("state IN ('{}')".format("', '".join(JobState)), name="known_state"),
        CheckConstraint("(state = 'RUNNING') = (lease_until IS NOT NULL)", name="leased_while_running"),
        CheckConstraint(
            "(state IN ('QUEUED', 'RUNNING', 'PAUSED')) = (finished_at IS NULL)", name="finished_when_ended"
        ),
        # claims pass over a job that is asked to stop, so it would wait for ever
        CheckConstraint("state <> 'QUEUED' OR cancel_requested_at IS NULL", name="cancelled_never_waits"),
        CheckConstraint("state = 'RUNNING' OR pause_requested_at IS NULL", name="asked_to_pause_while_running"),
        CheckConstraint("state <> 'SUCCEEDED' OR cancel_requested_at IS NULL", name="cancelled_never_succeeds"),
    )
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("ftjob-"))
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(default=JobState.QUEUED)
    stage: Mapped[str | None]
    backbone: Mapped[str]
    request: Mapped[Json]
    parameters: Mapped[Json | None]
    findings: Mapped[list[Json]] = mapped_column(default=list)  # that depend on the job; its files have their own
    training_files: Mapped[list[str]]
    validation_file: Mapped[str | None]
    suffix: Mapped[str | None]
    user_metadata: Mapped[Json | None]
    seed: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float | None]
    worker_id: Mapped[str | None]
    heartbeat_at: Mapped[float | None]
    progress: Mapped[float] = mapped_column(default=0.0)
    progress_step: Mapped[int] = mapped_column(default=0)
    progress_at: Mapped[float | None]
    eta_seconds: Mapped[float | None]
    not_before: Mapped[float] = mapped_column(default=0.0)
    deadline_at: Mapped[float | None]
    cancel_requested_at: Mapped[float | None]
    pause_requested_at: Mapped[float | None]
    reserved_seconds: Mapped[float] = mapped_column(default=0.0)  # of GPU time that it may use at most
    crash_count: Mapped[int] = mapped_column(default=0)
    retry_count: Mapped[int] = mapped_column(default=0)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    error_param: Mapped[str | None]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    dispatched_at: Mapped[float | None]
    deleted_at: Mapped[float | None]
    tidied_at: Mapped[float | None]  # when what it had stored and nobody needs was erased
    outcome: Mapped[Json | None]
    trained_tokens: Mapped[int | None] = mapped_column(BigInteger)


class JobEvent(Table):
    """One line of a job's history; state moves carry from_state and to_state."""

    __tablename__ = "job_event"
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(unique=True, default=lambda: new_id("ftevent-"))
    created_at: Mapped[float]
    level: Mapped[str] = mapped_column(default="info")
    type: Mapped[str] = mapped_column(default="message")
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[Json | None]
    from_state: Mapped[str | None]
    to_state: Mapped[str | None]
    stage: Mapped[str | None]
    epoch: Mapped[int | None]
    actor: Mapped[str]


class Metric(Table):
    """The curves: one row a step of a stage."""

    __tablename__ = "metric"
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    created_at: Mapped[float]
    data: Mapped[Json]


class Checkpoint(Table):
    """A kept step of the adapter that a user may take instead of the published one."""

    __tablename__ = "checkpoint"
    __table_args__ = (UniqueConstraint("job_id", "step"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("ftckpt_"))
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    account_id: Mapped[str]
    step: Mapped[int]
    epoch: Mapped[int]
    labels: Mapped[list[str]]
    storage_key: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    metrics: Mapped[Json]
    created_at: Mapped[float]


class Artifact(Table):
    """A stored file of a job: of a finished stage (for resuming), or a result."""

    __tablename__ = "artifact"
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    kind: Mapped[str]
    format: Mapped[str | None]
    storage_key: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    file_id: Mapped[str | None]
    created_at: Mapped[float]


class Adapter(Table):
    """A published adapter. The unique job_id makes publication happen once."""

    __tablename__ = "adapter"
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), unique=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    backbone: Mapped[str]
    kind: Mapped[str]
    epoch: Mapped[int]
    published_step: Mapped[int]
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class Idempotency(Table):
    """The first answer to a create call with this key."""

    __tablename__ = "idempotency"
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    job_id: Mapped[str | None]
    created_at: Mapped[float]


class Worker(Table):
    """A worker process as it last reported itself."""

    __tablename__ = "worker"
    id: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[float]
    seen_at: Mapped[float]
    draining: Mapped[bool] = mapped_column(default=False)
    job_id: Mapped[str | None]
    device: Mapped[str | None]  # that its trainers compute on


class Usage(Table):
    """GPU seconds that an attempt spent in a stage; kept when the job is erased, since it holds nothing of it."""

    __tablename__ = "usage"
    __table_args__ = (Index("ix_usage_account_id_created_at", "account_id", "created_at"),)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    stage: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str]
    seconds: Mapped[float]
    created_at: Mapped[float]


class Measurement(Table):
    """What one job or calibration has taken; kept when the job is erased, since it holds nothing of it."""

    __tablename__ = "measurement"
    __table_args__ = (Index("ix_measurement_backbone_created_at", "backbone", "created_at"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("measure-"))
    backbone: Mapped[str]
    revision: Mapped[str]
    device: Mapped[str]
    source: Mapped[str]
    data: Mapped[Json]
    created_at: Mapped[float]


class Erasure(Table):
    """Something that its owner wants gone for good, until the receipt says that it is."""

    __tablename__ = "erasure"
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("erasure-"))
    account_id: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]  # file, job, model or account
    target: Mapped[str]
    created_at: Mapped[float]  # of the thing itself: lists that are being paged through go on behind it
    requested_at: Mapped[float]
    tried_at: Mapped[float | None]
    done_at: Mapped[float | None] = mapped_column(index=True)
    objects: Mapped[int] = mapped_column(default=0)
    rows: Mapped[int] = mapped_column(default=0)
    signature: Mapped[str | None]


class Audit(Table):
    """Who did what and when; never with what content. Rows are only added."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_account_id_at", "account_id", "at"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("audit-"))
    at: Mapped[float]
    account_id: Mapped[str]
    key_id: Mapped[str | None]  # None: the service itself, or its operator
    action: Mapped[str]
    target: Mapped[str]
    address: Mapped[str | None]  # the first half of the caller's network address
    request_id: Mapped[str | None]


class Tally(Table):
    """A count of what has happened since the service was set up, for /metrics."""

    __tablename__ = "tally"
    name: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, default=0)


class WebhookEndpoint(Table):
    """Where an account wants to be told of the ends of its jobs. Secrets are kept as they are: signing needs them."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (Index("ix_webhook_endpoint_account_id_created_at", "account_id", "created_at", "id"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("whe_"))
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    name: Mapped[str]
    url: Mapped[str] = mapped_column(Text)
    event_types: Mapped[list[str]]
    secret: Mapped[str]
    old_secrets: Mapped[list[Json]] = mapped_column(default=list)  # {secret, until}: they sign too, for a while
    created_at: Mapped[float]
    updated_at: Mapped[float]
    failing_since: Mapped[float | None]  # the first failure after the last success
    disabled_at: Mapped[float | None]
    disabled_reason: Mapped[str | None]  # owner, gone or failing


class WebhookEvent(Table):
    """The end of a job, written with it in one transaction; the unique job_id makes it one. A test has no job."""

    __tablename__ = "webhook_event"
    __table_args__ = (
        Index(
            "ix_webhook_event_waiting", "created_at", sqlite_where=text("spread_at IS NULL"),
            postgresql_where=text("spread_at IS NULL"),
        ),
    )  # fmt: skip
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("evt_"))
    account_id: Mapped[str] = mapped_column(index=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"), unique=True)
    type: Mapped[str]
    created_at: Mapped[float]
    spread_at: Mapped[float | None]  # when each endpoint that wants it got its delivery


class WebhookDelivery(Table):
    """One event on its way to one endpoint. A row that somebody sends is leased, and `attempts` fences who writes."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        Index("ix_webhook_delivery_endpoint_id_created_at", "endpoint_id", "created_at", "id"),
        Index("ix_webhook_delivery_due", "state", "next_at"),
        CheckConstraint("(state = 'pending') = (next_at IS NOT NULL)", name="planned_while_pending"),
    )
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("whd_"))
    account_id: Mapped[str] = mapped_column(index=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoint.id"))
    event_id: Mapped[str] = mapped_column(ForeignKey("webhook_event.id"))
    state: Mapped[str]  # pending, delivered or failed
    tries: Mapped[int] = mapped_column(default=0)  # since it was created or ordered again
    attempts: Mapped[int] = mapped_column(default=0)  # in all
    next_at: Mapped[float | None]
    lease_until: Mapped[float | None]
    created_at: Mapped[float]
    ended_at: Mapped[float | None]


class WebhookAttempt(Table):
    """One request of a delivery: the status that came back, or a word for why none did; never what was said."""

    __tablename__ = "webhook_attempt"
    delivery_id: Mapped[str] = mapped_column(ForeignKey("webhook_delivery.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[float]
    seconds: Mapped[float | None]
    status_code: Mapped[int | None]
    error: Mapped[str | None]


def model_name(job: Job) -> str:
    """Name the adapter that a job makes or will make: ft:<backbone>:<account>:<suffix>:<short id>."""
    return f"ft:{job.backbone}:{job.account_id}:{job.suffix or ''}:{job.id.removeprefix('ftjob-')[:8]}"
