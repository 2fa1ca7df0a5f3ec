"""A preset as it goes over the wire."""

from typing import Literal

from pydantic import BaseModel

from core.parameters.protection.means import Ground, Means


class PresetValue(BaseModel):
    """What a preset changes: to a value, or by a factor; why, and whether that was measured."""

    name: str
    value: int | float | None
    times: float | None
    why: str
    measured: bool


class PresetProtect(BaseModel):
    """How a preset protects what the backbone knows: by what means, with what weight, on what; why, and measured?"""

    means: Means
    weight: float
    on: Ground
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
    protect: PresetProtect | None
    values: list[PresetValue]
