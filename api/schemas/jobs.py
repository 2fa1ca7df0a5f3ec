"""A job, its history and its results as they go over the wire: OpenAI's objects with ours in `bat`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from api.schemas.shared import Page
from core.errors import InvalidInput
from core.parameters.request import LINE, MAX_METADATA, Auto, Clean, Metadata, Request, visible, without_nulls

Selection = Literal["ranked", "random", "none"]
NAME = "name"  # the key under which metadata hold it
JobName = Annotated[Clean, Field(min_length=1, max_length=80), LINE, AfterValidator(visible)]
NAMES: TypeAdapter[str] = TypeAdapter(JobName)
TOO_MUCH = "With its name the job would have {} pairs of metadata, and {} are taken; send fewer in `metadata`."


class JobUpdate(Request):
    """The body of POST /v1/fine_tuning/jobs/{job_id}; what is left out stays, and null takes it away."""

    telling_nulls: ClassVar[frozenset[str]] = frozenset({"name", "metadata"})

    name: JobName | None = Field(None, description="what people call the job and its adapter: metadata's `name`")
    metadata: Annotated[Metadata | None, BeforeValidator(without_nulls)] = Field(
        None, description="all pairs, in place of those that there are"
    )

    def applied(self, metadata: Mapping[str, str] | None) -> dict[str, str] | None:
        """Return what becomes of a job's metadata; raises InvalidInput for more than a job may have."""
        pairs = dict((self.metadata if "metadata" in self.model_fields_set else metadata) or {})
        if "name" in self.model_fields_set:
            pairs.pop(NAME, None)
            pairs |= {NAME: self.name} if self.name is not None else {}
        if len(pairs) > MAX_METADATA:
            raise InvalidInput(TOO_MUCH.format(len(pairs), MAX_METADATA), code="too_much_metadata", param="name")
        return pairs or None


def name_of(metadata: Mapping[str, str] | None) -> str | None:
    """Return the name that a job's metadata give it; None where they have none, or one that is no line of its own."""
    try:
        return NAMES.validate_python((metadata or {}).get(NAME))
    except ValidationError:
        return None


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


class NamedStep(BaseModel):
    """The step that a job published by itself, by which rule, and why."""

    step: int | None
    rule: str | None
    reason: str | None


class PublishedFrom(BaseModel):
    """Whose kept step a job publishes, chosen by its owner, and which step that job had named."""

    job: str
    step: int
    named: NamedStep


class LearnedFile(BaseModel):
    """A file in the version that a job has learned from."""

    file_id: str
    sha256: str
    changed: bool = Field(description="whether the file was edited since: its present version is another one")
    erased: bool = Field(description="whether the file is there no more")


class JobBat(BaseModel):
    """Everything of ours about a job; keys of the outcome follow once the job has one."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(None, description="what people call it: metadata's `name`")
    cover: str | None = Field(None, description="in a list with covers=true: a small picture of it, as a data URI")
    training_versions: list[LearnedFile] | None = Field(
        None, description="the files that it learned from, training_file first; null for jobs of older versions"
    )
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
    published_from: PublishedFrom | None = None
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
