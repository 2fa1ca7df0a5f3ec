"""Captions for images whose owner wrote none, by the tagger that the job has resolved to; its owner is told each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from core.backbones.taggers import NONE, TaggerRecord
from core.references.captions import caption_of
from core.references.items import ImageItem, References
from worker.protocol import Line, Message
from worker.stages import taggers
from worker.stages.context import Context
from worker.stages.references import picture_of

CAPTIONS_TOLD = 3
MAX_CAPTION = 500  # characters, of one that a model has made


def add_captions(context: Context, given: References) -> Generator[Line, None, References]:
    """Return the references with a caption for each image, and tell those that were made."""
    p, record = context.p, context.record
    bare = caption_of("", record.caption_prefix, p.trigger)  # what an image without a caption was given
    wanting = {  # by place: images of two files may have one name
        place: item
        for place, item in enumerate(given.items)
        if isinstance(item, ImageItem) and (item.caption or "").strip() == bare.strip()
    }
    if p.caption == NONE or not wanting:
        return given
    tagger = taggers.load(p.caption, _record(context), str(context.spec["device"]))
    pictures = [picture_of(item) for item in wanting.values()]
    made = [" ".join(words.split())[:MAX_CAPTION] for words in tagger.caption(pictures)]
    captioned = {
        place: replace(item, caption=caption_of(words, record.caption_prefix, p.trigger))
        for (place, item), words in zip(wanting.items(), made, strict=True)
    }
    captions = _named(list(captioned.values()))
    yield Message("prepare", _told(captions, p.caption), data={"captions": captions, "tagger": p.caption})
    return replace(given, items=tuple(captioned.get(place, item) for place, item in enumerate(given.items)))


def _named(items: Sequence[ImageItem]) -> dict[str, str]:
    """Return the captions by name; where a name comes again, its number follows it."""
    named: dict[str, str] = {}
    for item in items:
        name, number = item.name, 1
        while name in named:
            number += 1
            name = f"{item.name} ({number})"
        named[name] = item.caption or ""
    return named


def _record(context: Context) -> TaggerRecord | None:
    content = context.spec.get("tagger")
    return TaggerRecord.model_validate(content) if content else None


def _told(captions: dict[str, str], tagger: str) -> str:
    shown = "; ".join(f"{name}: {words}" for name, words in list(captions.items())[:CAPTIONS_TOLD])
    more = f"; and {len(captions) - CAPTIONS_TOLD} more" if len(captions) > CAPTIONS_TOLD else ""
    return f"{tagger} captioned {len(captions)} images that had no caption. {shown}{more}."
