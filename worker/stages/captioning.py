"""Captions for images whose owner wrote none, by the tagger that the job has resolved to; its owner is told each."""

from __future__ import annotations

import io
from collections.abc import Generator
from dataclasses import replace

from PIL import Image

from core.captioning import caption_of
from core.images import FORMATS
from core.references import ImageItem, References
from core.taggers import NONE, TaggerRecord
from worker import taggers
from worker.protocol import Line, Message
from worker.stages.context import Context

MOST_SHOWN = 3
LONGEST = 500  # characters of a caption that a model has made


def add_captions(context: Context, given: References) -> Generator[Line, None, References]:
    """Return the references with a caption for each image, and tell those that were made."""
    p, record = context.p, context.record
    bare = caption_of("", record.caption_prefix, p.trigger)  # what an image without a caption was given
    wanting = [
        item for item in given.items if isinstance(item, ImageItem) and (item.caption or "").strip() == bare.strip()
    ]
    if p.caption == NONE or not wanting:
        return given
    tagger = taggers.load(p.caption, _record(context), str(context.spec["device"]))
    pictures = [Image.open(io.BytesIO(item.png), formats=FORMATS).convert("RGB") for item in wanting]
    made = [" ".join(words.split())[:LONGEST] for words in tagger.caption(pictures)]
    captions = {
        item.name: caption_of(words, record.caption_prefix, p.trigger)
        for item, words in zip(wanting, made, strict=True)
    }
    yield Message("prepare", _told(captions, p.caption), data={"captions": captions, "tagger": p.caption})
    items = [
        replace(item, caption=captions[item.name]) if isinstance(item, ImageItem) and item in wanting else item
        for item in given.items
    ]
    return replace(given, items=tuple(items))


def _record(context: Context) -> TaggerRecord | None:
    content = context.spec.get("tagger")
    return TaggerRecord.model_validate(content) if content else None


def _told(captions: dict[str, str], tagger: str) -> str:
    shown = "; ".join(f"{name}: {words}" for name, words in list(captions.items())[:MOST_SHOWN])
    more = f"; and {len(captions) - MOST_SHOWN} more" if len(captions) > MOST_SHOWN else ""
    return f"{tagger} captioned {len(captions)} images that had no caption. {shown}{more}."
