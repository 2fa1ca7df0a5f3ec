"""The answer to a DELETE, and an erasure with its receipt, as they go over the wire."""

from typing import Any, Literal

from pydantic import BaseModel, Field


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
    looked_at: list[dict[str, Any]] = Field(
        description="the places that were looked at, with when, and with what no look of the service reaches there"
    )
    signature: str | None
