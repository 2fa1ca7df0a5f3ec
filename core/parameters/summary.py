"""What parameters are resolved from: how many references there are, how long, and with what captions."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from core.backbones.families import Kind
from core.references import answer_format
from core.references.items import ImageItem, References, TextItem


class ReferenceSummary(BaseModel):
    """What resolving needs to know of the references; `prompts` are captions of images or prompts of texts."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    count: int
    prompts: tuple[str, ...] = ()
    uncaptioned: int = 0  # images without a caption
    shape: str | None = None  # the sentence of core.references.answer_format, where answers have one


def summarise(read: References, uncaptioned: int = 0) -> ReferenceSummary:
    """Return what resolving needs to know of the references; `uncaptioned` images are counted before."""
    prompts = tuple(prompt for item in read.items if (prompt := _prompt(item)))
    shape = answer_format.shape([item for item in read.items if isinstance(item, TextItem)])
    return ReferenceSummary(
        kind=read.kind, count=len(read.items), prompts=prompts, uncaptioned=uncaptioned, shape=shape
    )


def _prompt(item: ImageItem | TextItem) -> str | None:
    """Return the caption of an image, or what a text answers to."""
    if isinstance(item, ImageItem):
        return item.caption
    asked = (message["content"] for message in item.messages or () if message["role"] == "user")
    return item.prompt or next(asked, None)
