"""What a service takes and offers, as it goes over the wire."""

from typing import Literal

from pydantic import BaseModel, Field


class ItemsTaken(BaseModel):
    """How many items a job learns from."""

    most: int


class KindTaken(BaseModel):
    """What may be sent of one kind of references."""

    formats: list[str] = Field(description="of a single file, told by its content and not by its name")
    archives: list[str] = Field(description="in which many files may be sent as one")
    items: ItemsTaken
    exports: list[str] = Field(description="in which an adapter may be published")


class KindsTaken(BaseModel):
    """What references can be."""

    images: KindTaken
    texts: KindTaken


class Limits(BaseModel):
    """What one upload may have."""

    file_bytes: int
    image_bytes: int
    image_pixels: int
    image_side_least: int
    image_side_most: int
    text_bytes: int
    caption_characters: int


class TaggerObject(BaseModel):
    """What can describe pictures that came without a caption."""

    id: str
    licence: str | None = Field(description="null for one that is built in")


class Capabilities(BaseModel):
    """What can be known of a service without a key."""

    object: Literal["capabilities"] = "capabilities"
    version: str
    kinds: KindsTaken
    limits: Limits
    taggers: list[TaggerObject]
    stages: list[str] = Field(description="of a job, in the order they run in")
    start_link: bool = Field(description="whether a start link can be opened from where this was asked")
