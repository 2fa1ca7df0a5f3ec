"""A backbone or an adapter as it goes over the wire."""

from typing import Literal

from pydantic import BaseModel


class ModelBat(BaseModel):
    """What a model is and where it comes from."""

    kind: str
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
