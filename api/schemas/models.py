"""A backbone or an adapter as it goes over the wire."""

from typing import Literal

from pydantic import BaseModel, Field


class PoolObject(BaseModel):
    """What of the data that a backbone has learned from is here, for jobs to draw on."""

    candidates: int = Field(description="examples that may be chosen for a job")
    probe: int = Field(description="examples that are kept apart, to see what is forgotten")
    licences: list[str]


class ModelBat(BaseModel):
    """What a model is and where it comes from."""

    kind: str
    name: str | None = Field(default=None, description="of an adapter: what its owner calls it, as its job says")
    title: str | None = Field(default=None, description="of a backbone, for people who have never heard of it")
    learns_from: Literal["images", "texts"] | None = None
    resolution: int | None = Field(default=None, description="side of the pictures that a backbone draws, in pixels")
    description: str | None = None
    good_for: str | None = None
    measured_here: bool | None = Field(
        default=None, description="whether a job or a calibration of this service tells how long one takes"
    )
    pool: PoolObject | None = Field(default=None, description="of a backbone; null where it is not known here")
    family: str | None = None
    licence: str | None = None
    backbone: str | None = None
    job_id: str | None = None
    published_step: int | None = None
    formats: list[str] = []
    aliases: list[str] = []


class ModelObject(BaseModel):
    """A backbone or a finished adapter."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    bat: ModelBat
