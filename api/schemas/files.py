"""A file as it goes over the wire."""

from typing import Any, Literal

from pydantic import BaseModel


class FileBat(BaseModel):
    """What was found in an upload."""

    kind: str | None
    items: int
    sha256: str
    findings: list[dict[str, Any]]
    job_id: str | None


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
