"""From an image's own caption to the one that is trained on: prefix of the backbone, trigger word, own words."""

from __future__ import annotations

from dataclasses import replace

from core.backbones.record import BackboneRecord
from core.references import phrases
from core.references.items import ImageItem, References


def caption_of(words: str, prefix: str, trigger: str | None, add_trigger: bool = True) -> str:
    """Return a caption that begins with the backbone's prefix and holds the trigger word, once."""
    rest = words.removeprefix(prefix).strip()
    if trigger and (add_trigger or not rest) and not phrases.names(rest, trigger):
        rest = f"{trigger} {rest}".strip()
    return f"{prefix}{rest}"


def captioned(read: References, record: BackboneRecord, trigger: str | None, *, add_trigger: bool = True) -> References:
    """Return images with captions as the backbone knows them: prefix, trigger word, and what the owner wrote.

    Without `add_trigger` the word goes only to images that have no caption.
    """
    word = trigger or record.trigger_hint
    items = tuple(
        replace(item, caption=caption_of(item.caption or "", record.caption_prefix, word, add_trigger))
        if isinstance(item, ImageItem)
        else item
        for item in read.items
    )
    return replace(read, items=items)
