"""A preset as it goes over the wire."""

from typing import Literal

from pydantic import BaseModel

from core.parameters.protection.means import Ground, Means
from core.parameters.request import StopName


class PresetValue(BaseModel):
    """What a preset changes: to a value, by a factor, or to so many passes; why, and whether that was measured."""

    name: str
    value: int | float | None
    times: float | None
    passes: int | None = None
    why: str
    measured: bool


class PresetProtect(BaseModel):
    """How a preset protects what the backbone knows: by what means, with what weight, on what; why, and measured?"""

    means: Means
    weight: float
    on: Ground
    why: str
    measured: bool


class PresetStop(BaseModel):
    """What ends a run and names its adapter; why, and whether that was measured."""

    rule: StopName
    why: str
    measured: bool


class PresetObject(BaseModel):
    """What may be learned from references, and what that changes."""

    id: str
    object: Literal["preset"] = "preset"
    name: str
    version: int
    kind: Literal["images", "texts"]
    description: str
    learns: str
    add_trigger: bool
    alias_of: str | None
    source: Literal["built-in", "operator"]
    advanced: bool
    protect: PresetProtect | None
    stop: PresetStop | None
    values: list[PresetValue]
