"""What parameters are resolved from: how many references there are, how long, and with what captions."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from core.backbones.families import Kind
from core.references import answer_format
from core.references.captions import MOST_LINES
from core.references.items import ImageItem, References, TextItem


class ReferenceSummary(BaseModel):
    """What resolving needs to know of the references.

    `prompts` are the captions of images as their owner wrote them, "" where there is none, or the prompts of texts.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    count: int
    prompts: tuple[str, ...] = ()
    uncaptioned: int = 0  # images without a caption
    shape: str | None = None  # the sentence of core.references.answer_format, where answers have one

    @property
    def lines_told(self) -> str:
        """What becomes of captions of several lines where one is drawn; an estimate may not know all captions."""
        if self.kind == "texts":
            return "Texts have no captions."
        counts = [len(words.splitlines()) for words in self.prompts]
        if len(counts) < self.count:
            return "Where a caption has several lines, one of them is drawn each time that its image is trained on."
        lists, several = sum(count > MOST_LINES for count in counts), sum(count > 1 for count in counts)
        told = []
        if several > lists:
            told = [
                f"{several - lists} of {self.count} captions have several lines, and one of them is drawn each time."
            ]
        if lists:
            told.append(f"{lists} of {self.count} captions have more than {MOST_LINES} lines, which are joined to one.")
        return " ".join(told) or "No caption has several lines."


def summarise(read: References) -> ReferenceSummary:
    """Return what resolving needs to know of the references, as their owner sent them."""
    captions = tuple(item.caption or "" for item in read.items if isinstance(item, ImageItem))
    texts = [item for item in read.items if isinstance(item, TextItem)]
    return ReferenceSummary(
        kind=read.kind,
        count=len(read.items),
        prompts=captions or tuple(prompt for item in texts if (prompt := _prompt(item))),
        uncaptioned=captions.count(""),
        shape=answer_format.shape(texts),
    )


def _prompt(item: TextItem) -> str | None:
    """Return what a text answers to."""
    asked = (message["content"] for message in item.messages or () if message["role"] == "user")
    return item.prompt or next(asked, None)
