"""A job and all that hangs on it."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.database.tables.base import Json, Table, new_id, partial_index


class JobState(StrEnum):
    """Where a job is; only the moves of core.database.tables.jobs.MOVES happen."""

    QUEUED = "QUEUED"  # waits for a worker
    RUNNING = "RUNNING"  # a worker holds its lease
    PAUSED = "PAUSED"  # waits for its owner
    SUCCEEDED = "SUCCEEDED"  # its adapter is published
    FAILED = "FAILED"  # ended with an error code
    CANCELLED = "CANCELLED"  # ended by its owner
    EXPIRED = "EXPIRED"  # its deadline passed before it began


class Job(Table):
    """One request for an adapter. `attempt` is the fencing token: it grows with every claim; its columns say epoch."""

    __tablename__ = "job"
    __table_args__ = (
        Index("ix_job_claim", "queue", "state", "priority", "created_at"),
        Index("ix_job_account_id_created_at", "account_id", "created_at", "id"),
        Index("ix_job_account_id_state", "account_id", "state"),
        partial_index(
            "ix_job_kept", "finished_at", "account_id", where="finished_at IS NOT NULL AND deleted_at IS NULL"
        ),
        partial_index(
            "ix_job_published_from", "published_from_job", "published_from_step", where="published_from_job IS NOT NULL"
        ),
        partial_index("ix_job_untidied", "finished_at", "id", where="tidied_at IS NULL AND deleted_at IS NULL"),
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
    attempt: Mapped[int] = mapped_column("epoch", default=0)
    lease_until: Mapped[float | None]
    worker_id: Mapped[str | None]
    heartbeat_at: Mapped[float | None]
    progress: Mapped[float] = mapped_column(default=0.0)
    progress_step: Mapped[int] = mapped_column(default=0)
    progress_at: Mapped[float | None]
    eta_seconds: Mapped[float | None]
    course: Mapped[Json | None]  # what each stage was expected to take and has taken, as core.estimates.course has it
    not_before: Mapped[float] = mapped_column(default=0.0)
    deadline_at: Mapped[float | None]
    cancel_requested_at: Mapped[float | None]
    pause_requested_at: Mapped[float | None]
    reserved_seconds: Mapped[float] = mapped_column(default=0.0)  # of GPU time that it may use at most
    # how far it has got that it can go on from; crashes and retries are counted since
    furthest_stage: Mapped[str | None]
    furthest_step: Mapped[int] = mapped_column(default=0)
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
    # of a job that publishes another kept step: whose, which may be erased since, and which
    published_from_job: Mapped[str | None]
    published_from_step: Mapped[int | None]


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
    attempt: Mapped[int | None] = mapped_column("epoch")
    actor: Mapped[str]


class Metric(Table):
    """The curves: one row a step of a stage."""

    __tablename__ = "metric"
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column("epoch")
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
    attempt: Mapped[int] = mapped_column("epoch")
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
    attempt: Mapped[int] = mapped_column("epoch")
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
    attempt: Mapped[int] = mapped_column("epoch")
    published_step: Mapped[int]
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class Idempotency(Table):
    """The job that a create call with this key has made."""

    __tablename__ = "idempotency"
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    job_id: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[float]


def model_name(job: Job) -> str:
    """Name the adapter that a job makes or will make: ft:<backbone>:<account>:<suffix>:<short id>."""
    return f"ft:{job.backbone}:{job.account_id}:{job.suffix or ''}:{job.id.removeprefix('ftjob-')[:8]}"


BORROWED = "borrowed"  # the kind of artifacts that name what another job has stored; whoever counts leaves them out
MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.CANCELLED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.PAUSED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.EXPIRED: frozenset(),
}
TERMINAL = frozenset(state for state, moves in MOVES.items() if not moves)
ACTIVE = frozenset(MOVES) - TERMINAL
