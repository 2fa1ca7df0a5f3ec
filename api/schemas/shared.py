"""What the wire carries: requests that refuse anything unknown, and OpenAI's objects with ours in `bat`."""

from typing import Generic, Literal, TypeVar

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


class Health(BaseModel):
    """What works; each check says `ok` or what is wrong."""

    status: Literal["ok", "ready", "not_ready"]
    checks: dict[str, str] = {}
