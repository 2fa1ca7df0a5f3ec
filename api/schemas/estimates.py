"""An estimate as it goes over the wire."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Spread(BaseModel):
    """A figure, and between which it will probably lie."""

    low: float
    expected: float
    high: float


class Bytes(BaseModel):
    """The same for bytes."""

    low: int
    expected: int
    high: int


class Queue(BaseModel):
    """What stands before the job; `seconds` is null while no worker is there."""

    position: int
    running: int
    workers: int
    seconds: float | None


class Basis(BaseModel):
    """What the figures rest on."""

    kind: Literal["measured", "rule_of_thumb"]
    jobs: int
    calibrations: int
    device: str | None
    message: str


class EstimateObject(BaseModel):
    """What a job with this body would take; none is made."""

    object: Literal["fine_tuning.job.estimate"] = "fine_tuning.job.estimate"
    model: str
    seconds: Spread
    stages: dict[str, Spread]
    queue: Queue
    peak_memory_bytes: Bytes
    memory_of: Literal["host", "device"]
    result_bytes: Bytes
    resolved: dict[str, Any]
    basis: Basis
    findings: list[dict[str, Any]] = Field(
        description="of the files, each with its file_id, and of the job, as it would carry them"
    )
    notes: list[str]
