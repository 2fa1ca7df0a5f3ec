"""A finding: something about an upload or a job that its owner should know, and how much it matters."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

MAX_CHARACTERS = 2_000  # of each part of a finding
MAX_ITEMS = 1_000  # that one names, and a sentence need not
Severity = Literal["info", "warn"]


@dataclass(frozen=True)
class Finding:
    """Something about the references that their owner should know; `fix` says what to do about it."""

    code: str
    message: str
    fix: str
    item: str | None = None
    other: str | None = None  # the second of two items, where it takes two
    severity: Severity = "warn"
    items: list[str] | None = None  # all that it is about, where it may be about several


def from_wire(value: object) -> Finding | None:
    """Return a finding that a trainer has sent; None where it is none."""
    if not isinstance(value, dict) or not set(value) <= {field.name for field in fields(Finding)}:
        return None
    items = value.get("items")
    said = [*(part for name, part in value.items() if name != "items"), *(items if isinstance(items, list) else ())]
    if not all(isinstance(part, str | None) and len(part or "") <= MAX_CHARACTERS for part in said):
        return None
    if not (items is None or (isinstance(items, list) and len(items) <= MAX_ITEMS and None not in items)):
        return None
    return Finding(**value) if {"code", "message", "fix"} <= {name for name, part in value.items() if part} else None
