"""An account as it goes over the wire."""

from pydantic import BaseModel, Field


class AccountObject(BaseModel):
    """What an account has and may have; null is no limit."""

    id: str
    object: str = "account"
    name: str
    created_at: int
    stored_bytes: int
    bytes_limit: int | None
    gpu_seconds: float = Field(description="of the last 30 days, with what active jobs may still spend")
    gpu_seconds_used: float = Field(description="of the last 30 days")
    gpu_seconds_limit: float | None
    active_jobs: int
    active_job_limit: int
    jobs_per_minute: int
    requests_per_minute: int
    scopes: list[str]
