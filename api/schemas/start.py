"""What a start link is taken for."""

from pydantic import BaseModel, ConfigDict, Field


class StartRequest(BaseModel):
    """The token of a start link: what follows `#start=` in the address."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=200)


class StartedObject(BaseModel):
    """A key of this machine's own account, shown once."""

    key: str
    expires_at: int = Field(description="seconds since 1970; then a new link is needed, or a key of another kind")
