"""An account, and an erasure, as they go over the wire."""

from typing import Literal

from pydantic import BaseModel


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
