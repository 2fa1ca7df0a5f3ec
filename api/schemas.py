"""What the wire carries: requests that refuse anything unknown, and OpenAI's objects with ours in `bat`."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


class ErrorDetail(BaseModel):
    """What went wrong, which parameter is to blame, and a word for programs to go by."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """Every answer that is not what was asked for."""

    error: ErrorDetail


class Page(BaseModel, Generic[T]):
    """One page of a list; the next one starts `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    first_id: str | None
    last_id: str | None


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


class DeletedBat(BaseModel):
    """Where the receipt of an erasure is: GET /v1/erasures/{erasure}."""

    erasure: str
    status: Literal["pending", "completed"]


class Deleted(BaseModel):
    """The answer to a DELETE: from now on the thing is gone for everybody; its bytes are, once `status` says so."""

    id: str
    object: str
    deleted: bool = True
    bat: DeletedBat


class ErasureObject(BaseModel):
    """What was erased, and when; with `signature` it is the receipt."""

    id: str
    object: str = "erasure"
    kind: Literal["file", "job", "model", "account"]
    target: str
    account: str
    status: Literal["pending", "completed"]
    requested_at: float
    completed_at: float | None
    objects: int
    rows: int
    signature: str | None


class AccountObject(BaseModel):
    """What an account has and may have; null is no limit."""

    id: str
    object: str = "account"
    name: str
    created_at: int
    stored_bytes: int
    bytes_limit: int | None
    gpu_seconds: float
    gpu_seconds_limit: float | None
    active_jobs: int
    active_job_limit: int
    jobs_per_minute: int
    requests_per_minute: int
    scopes: list[str]


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


class Health(BaseModel):
    """What works; each check says `ok` or what is wrong."""

    status: Literal["ok", "ready", "not_ready"]
    checks: dict[str, str] = {}
