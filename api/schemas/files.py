"""A file as it goes over the wire."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class FileBat(BaseModel):
    """What was found in an upload."""

    kind: str | None
    items: int
    sha256: str
    findings: list[dict[str, Any]]
    job_id: str | None
    used_by: int = Field(0, description="jobs that learn from it or have learned, of those that there are")
    in_use: bool = Field(False, description="whether one of them has not ended: until then it can't be erased")


class FileObject(BaseModel):
    """An upload or a result."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: str
    status_details: str | None
    bat: FileBat
