"""A job, its history and its results as they go over the wire: OpenAI's objects with ours in `bat`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.shared import Page
from core.parameters.request import Auto

Selection = Literal["ranked", "random", "none"]


class JobError(BaseModel):
    """Why a job has failed and what to do next."""

    code: str
    message: str
    param: str | None


class JobHyperparameters(BaseModel):
    """What was asked for, or resolved."""

    batch_size: Auto | int
    learning_rate_multiplier: Auto | float
    n_epochs: Auto | int


class JobMethod(BaseModel):
    """The same in the newer place."""

    type: Literal["supervised"] = "supervised"
    supervised: dict[str, JobHyperparameters]


class JobArtifact(BaseModel):
    """One published file of a job."""

    name: str
    format: str | None
    file_id: str | None
    sha256: str
    bytes: int
    usage: str | None = Field(None, description="the lines that load it, run where it lies")


StageState = Literal["waiting", "running", "done", "skipped"]


class JobStage(BaseModel):
    """One stage of a job: the seconds that all attempts have spent in it, and those that it is expected to take."""

    name: str
    state: StageState
    seconds: float
    expected: float | None


class JobBat(BaseModel):
    """Everything of ours about a job; keys of the outcome follow once the job has one."""

    model_config = ConfigDict(extra="allow")

    stage: str | None
    progress: float
    stages: list[JobStage]
    overall: float
    eta_seconds: float | None
    queue_position: int | None
    cancel_requested: bool
    pause_requested: bool
    request: dict[str, Any]
    resolved: dict[str, Any] | None
    findings: list[dict[str, Any]] = []
    selected: int | None = None
    selection: Selection | None = None
    pool_size: int | None = None
    gamma: float | None = None
    protected: dict[str, Any] | None = None
    verdict: str | None = None
    score_reliability: float | None = None
    trial: dict[str, Any] | None = None
    references: list[dict[str, Any]] | None = None
    reasons: dict[str, str] | None = None
    published_step: int | None = None
    turning_point_step: int | None = None
    valleys: list[int] | None = None
    stopped_early: bool | None = None
    stop_reason: str | None = None
    confidence: str | None = None
    artifacts: list[JobArtifact]


class JobObject(BaseModel):
    """A job as the client's FineTuningJob needs it."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    status: str
    error: JobError | None
    hyperparameters: JobHyperparameters
    method: JobMethod
    training_file: str
    validation_file: str | None
    result_files: list[str]
    seed: int
    trained_tokens: int | None
    user_provided_suffix: str | None
    metadata: dict[str, str] | None
    integrations: list[Any] = []
    bat: JobBat


class JobProgress(BaseModel):
    """Where a job stands, as its stream of events tells: `progress` is the share of the stage, `overall` of all."""

    status: str
    stage: str | None
    progress: float
    overall: float
    eta_seconds: float | None


class EventObject(BaseModel):
    """One line of a job's history."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: str
    type: str
    message: str
    data: dict[str, Any] | None


class CheckpointBat(BaseModel):
    """Why a step was kept."""

    labels: list[str] = Field(description="published, turning_point, matched_loss, last; none while the job works")
    sha256: str
    bytes: int


class CheckpointObject(BaseModel):
    """A kept step of the adapter."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, Any]
    bat: CheckpointBat


class CheckpointPage(Page[CheckpointObject]):
    """Kept steps: some of them while the job trains, those that stay once it is `ready`."""

    ready: bool = Field(description="whether the job has ended, so that the list changes no more")


class MetricObject(BaseModel):
    """One evaluated step of a stage, with the values of its curves."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["fine_tuning.job.metric"] = "fine_tuning.job.metric"
    created_at: int
    stage: str
    step: int


class CandidateObject(BaseModel):
    """One scored candidate of the pool, or one of the user's own references."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["fine_tuning.job.candidate"] = "fine_tuning.job.candidate"
    source: str | None = None
    score: float | None = None
    rank: int | None = None
    selected: bool = False
    caption: str | None = None
    text: str | None = None
    thumbnail: str | None = None


class InfluencePage(Page[CandidateObject]):
    """Candidates of the pool, once they are scored; `selection` says by what those that are replayed were chosen.

    `ready` is false while nothing can be here yet, and true for good from then on.
    """

    ready: bool
    selection: Selection | None = None
