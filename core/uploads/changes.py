"""What somebody asks to change in a stored upload, on its way to where uploads are decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel


class SentFile(BaseModel):
    """A file that came for a change, with the name that its sender gave it."""

    path: Path
    filename: str


class Change(BaseModel):
    """What is asked of a stored upload, and what was known of it before.

    The item at `place` goes, and what was sent comes there; without a place it comes behind all others.
    """

    place: int | None = None
    sent: list[SentFile] = []
    caption: str | None = None  # of the picture that comes; None: that which it brings, or that of the one before
    strict: bool = False
    findings: list[dict[str, Any]] = []
    profile: dict[str, Any] | None = None
