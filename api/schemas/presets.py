"""A preset as it goes over the wire."""

from typing import Literal

from pydantic import BaseModel


class PresetValue(BaseModel):
    """What a preset changes: to a value, or by a factor; why, and whether that was measured."""

    name: str
    value: int | float | None
    times: float | None
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
    values: list[PresetValue]
