"""What of a card is shown to people, held against the shape that it has to have: the card may be a stranger's."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from core.adapters.tensor_files import damaged
from core.errors import InvalidInput

Scalar = str | int | float | bool | None


class _Part(BaseModel):
    """A part of a card; what is not named here is not shown, and may be anything."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Backbone(_Part):
    id: str | None = None
    hub_name: str | None = None
    revision: Scalar = None
    licence: str | None = None


class _Outcome(_Part):
    published_step: int | None = None
    last_step: int | None = None
    stop_rule: str | None = None
    stop_reason: str | None = None
    confidence: Scalar = None


class _Curves(_Part):
    columns: list[str] = []
    rows: list[list[float | None]] = []

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("a row has not the length of the columns")
        place = self.columns.index("step") if "step" in self.columns else None
        if place is not None and any(row[place] is None for row in self.rows):
            raise ValueError("a row has no step")
        return self


class _Counted(_Part):
    count: int
    sha256: str


class _Pool(_Part):
    candidates: int
    sha256: str
    generated: bool = False  # by the backbone itself


class _Data(_Part):
    kind: str | None = None
    references: _Counted | None = None
    validation: _Counted | None = None
    pool: _Pool | None = None


class _Replayed(_Part):
    count: int
    licences: dict[str, int]


class _Protected(_Part):
    means: str
    weight: float
    on: str
    share: float
    examples: int


class _Probe(_Part):
    on: str


class _Parameters(_Part):
    learning_rate: Scalar = None
    batch_size: Scalar = None
    max_steps: Scalar = None
    preset: Scalar = None
    trigger: Scalar = None


class _Card(_Part):
    backbone: _Backbone | None = None
    outcome: _Outcome | None = None
    curves: _Curves | None = None
    data: _Data | None = None
    replayed: _Replayed | None = None
    protected: _Protected | None = None
    probe: _Probe | None = None
    parameters: _Parameters | None = None
    versions: dict[str, Scalar] | None = None
    seed: Scalar = None


def taken(content: bytes | str, name: str) -> dict[str, Any]:
    """Read a card; raises InvalidInput where it is not JSON, or a part that is shown has another shape."""
    card = parsed(content, name)
    try:
        _Card.model_validate(card)
    except ValidationError:
        raise damaged(name) from None
    return card


def parsed(content: bytes | str, name: str) -> dict[str, Any]:
    """Read a JSON object out of a file."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{name} is not valid JSON; fetch it again.", code="invalid_adapter") from None
    if not isinstance(value, dict):
        raise damaged(name)
    return value
