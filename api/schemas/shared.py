"""What many routes answer with: a page of a list, an error, the health of the service."""

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, Field

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


class Health(BaseModel):
    """What works; each check says `ok` or what is wrong."""

    status: Literal["ok", "ready", "not_ready"]
    checks: dict[str, str] = {}
    details: dict[str, str] = Field(default={}, description="what is worth knowing of a service that is ready")
