"""What the adapter of kept steps draws or writes, as it goes over the wire."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.shared import Page


class SampleObject(BaseModel):
    """What the adapter of one kept step draws or writes for one prompt, always from the same seed."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["fine_tuning.job.sample"] = "fine_tuning.job.sample"
    step: int
    number: int | None = Field(
        None, description="its place among the samples of every step: two with one number answer the same"
    )
    labels: list[str] = []
    prompt: str
    role: str | None = None
    text: str | None = None
    width: int | None = None
    height: int | None = None
    thumbnail: str | None = Field(None, description="of a picture: at most 256 pixels a side, as a data URI")
    image: str | None = Field(None, description="the picture itself as a data URI, where that is at most 200 kB")
    image_url: str | None = Field(None, description="where the picture is, with your key; ?size=256 for the small one")
    url: str | None = Field(None, description="where the picture can be downloaded for an hour, without a key")


class SamplePage(Page[SampleObject]):
    """Samples of kept steps: some of them while the job trains, all of them once it is `ready`."""

    ready: bool = Field(description="whether the job has ended, so that no more of them come")
