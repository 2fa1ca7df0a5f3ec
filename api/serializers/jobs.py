"""From rows of jobs, their events, metrics and checkpoints to the objects on the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.schemas.jobs import (
    CheckpointBat,
    CheckpointObject,
    EventObject,
    JobArtifact,
    JobBat,
    JobError,
    JobHyperparameters,
    JobMethod,
    JobObject,
    JobProgress,
    LearnedFile,
    MetricObject,
    name_of,
)
from api.serializers import covers, progress
from core.adapters import card
from core.database.engine import now
from core.database.tables import Adapter, Artifact, Checkpoint, Job, JobEvent, JobState, Metric, model_name
from core.jobs import file_versions, queue
from core.jobs.file_versions import LearnedVersion
from core.parameters.request import stored_request

WIRE_STATUS: Mapping[str, str] = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "running",
    JobState.PAUSED: "paused",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "failed",
}
FIRST_RESULT = "metrics.csv"


@dataclass(frozen=True)
class Beside:
    """What a job's object tells that does not stand in its row."""

    results: list[Artifact]
    model: str | None
    position: int | None
    versions: list[LearnedVersion] | None
    cover: str | None
    time: float


def job_objects(session: Session, rows: Sequence[Job], *, covered: bool = False) -> list[JobObject]:
    """Show jobs with their results; a few queries whatever their number, and none for what cannot be there yet."""
    results: dict[str, list[Artifact]] = {job.id: [] for job in rows}
    if begun := [job.id for job in rows if job.attempt]:
        for artifact in session.scalars(select(Artifact).where(Artifact.job_id.in_(begun), Artifact.kind == "result")):
            results[artifact.job_id].append(artifact)
    models: dict[str, str] = {}
    if published := [job.id for job in rows if job.state == JobState.SUCCEEDED]:
        adapters = session.scalars(select(Adapter).where(Adapter.job_id.in_(published)))
        models = {adapter.job_id: adapter.id for adapter in adapters}
    waiting = [job.id for job in rows if job.state == JobState.QUEUED]
    positions = queue.queue_positions(session, waiting) if waiting else {}
    time = now(session) if any(job.state == JobState.RUNNING for job in rows) else 0.0
    versions = file_versions.learned(session, rows)
    pictures = covers.covers(session, rows) if covered else {}
    return [
        _job_object(
            job,
            Beside(
                sorted(results[job.id], key=_place),
                models.get(job.id),
                positions.get(job.id),
                versions.get(job.id),
                pictures.get(job.id),
                time,
            ),
        )
        for job in rows
    ]


def job_object(session: Session, job: Job) -> JobObject:
    """Show one job."""
    return job_objects(session, [job])[0]


def _job_object(job: Job, beside: Beside) -> JobObject:
    hyperparameters = _hyperparameters(job)
    eta = progress.eta_seconds(job, beside.time)
    return JobObject(
        id=job.id,
        created_at=int(job.created_at),
        finished_at=whole_seconds(job.finished_at),
        model=job.backbone,
        estimated_finish=None if eta is None else int(beside.time + eta),
        fine_tuned_model=beside.model,
        organization_id=job.account_id,
        status=WIRE_STATUS[job.state],
        error=_error(job),
        hyperparameters=hyperparameters,
        method=JobMethod(supervised={"hyperparameters": hyperparameters}),
        training_file=job.training_files[0],
        validation_file=job.validation_file,
        seed=job.seed,
        result_files=[result.file_id for result in beside.results if result.file_id],
        trained_tokens=job.trained_tokens,
        user_provided_suffix=job.suffix,
        metadata=job.user_metadata,
        bat=_job_bat(job, beside, eta),
    )


def _place(result: Artifact) -> tuple[bool, int, str]:
    """Sort results: the curves first, then the adapter's formats and its card, then the rest by name."""
    return result.name.rpartition("/")[2] != FIRST_RESULT, card.order(result.format), result.name


def _job_bat(job: Job, beside: Beside, eta: float | None) -> JobBat:
    outcome = covers.without(job.outcome or {})
    artifacts = _artifacts(beside.results, outcome.pop("usage", {}))
    versions = None if beside.versions is None else [LearnedFile(**asdict(version)) for version in beside.versions]
    ours: dict[str, Any] = {
        "name": name_of(job.user_metadata),
        "cover": beside.cover,
        "training_versions": versions,
        "stage": job.stage,
        "progress": stage_progress(job),
        "stages": progress.stages(job),
        "overall": progress.overall(job),
        "eta_seconds": eta,
        "queue_position": beside.position,
        "cancel_requested": job.cancel_requested_at is not None,
        "pause_requested": job.pause_requested_at is not None,
        "request": job.request.get("bat") or {},  # word for word as it was sent
        "resolved": job.parameters,
        "findings": job.findings,
        "artifacts": artifacts,
    }
    return JobBat(**(outcome | ours))


def _artifacts(results: Sequence[Artifact], usage: Mapping[str, str]) -> list[JobArtifact]:
    """Show the files of a job, each with the lines that load it."""
    return [
        JobArtifact(
            name=result.name,
            format=result.format,
            file_id=result.file_id,
            sha256=result.sha256,
            bytes=result.bytes,
            usage=usage.get(result.format or ""),
        )
        for result in results
    ]


def _hyperparameters(job: Job) -> JobHyperparameters:
    asked = stored_request(job.request).chosen()
    return JobHyperparameters(
        batch_size=(job.parameters or {}).get("batch_size") or asked.batch_size,
        learning_rate_multiplier=asked.learning_rate_multiplier,
        n_epochs=asked.n_epochs,
    )


def _error(job: Job) -> JobError | None:
    if job.error_code is None:
        return None
    return JobError(code=job.error_code, message=job.error_message or "", param=job.error_param)


def progress_object(job: Job, time: float) -> JobProgress:
    """Show where a job stands at this time of the database."""
    return JobProgress(
        status=WIRE_STATUS[job.state],
        stage=job.stage,
        progress=stage_progress(job),
        overall=progress.overall(job),
        eta_seconds=progress.eta_seconds(job, time),
    )


def stage_progress(job: Job) -> float:
    """Return the share of the stage; what an earlier attempt reached is no progress."""
    return 0.0 if job.state == JobState.QUEUED else job.progress


def event_object(event: JobEvent) -> EventObject:
    """Show one line of a job's history."""
    return EventObject(
        id=event.id,
        created_at=int(event.created_at),
        level=event.level,
        type=event.type,
        message=event.message,
        data=event.data,
    )


def metric_object(metric: Metric, nothing: Mapping[str, None] | None = None) -> MetricObject:
    """Show the curves' values at one step; `nothing` names those that are null where they have none."""
    fixed = {"id": f"{metric.stage}:{metric.step}", "created_at": int(metric.created_at)}
    return MetricObject(**(dict(nothing or {}) | metric.data | fixed | {"stage": metric.stage, "step": metric.step}))


def checkpoint_object(checkpoint: Checkpoint, job: Job) -> CheckpointObject:
    """Show a kept step."""
    return CheckpointObject(
        id=checkpoint.id,
        created_at=int(checkpoint.created_at),
        fine_tuning_job_id=job.id,
        fine_tuned_model_checkpoint=f"{model_name(job)}:ckpt-step-{checkpoint.step}",
        step_number=checkpoint.step,
        metrics={"step": checkpoint.step, **checkpoint.metrics},
        bat=CheckpointBat(labels=checkpoint.labels, sha256=checkpoint.sha256, bytes=checkpoint.bytes),
    )


def whole_seconds(time: float | None) -> int | None:
    return None if time is None else int(time)
