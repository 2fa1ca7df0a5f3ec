"""From an image's own caption to the one that is trained on: prefix of the backbone, own words, trigger word.

The trigger stands at the end. In front of the words that name the thing, a word that the backbone does not know can
change what they mean to it ("a sks bear" is no bear any more); behind them it marks and leaves them as they are.
"""

from __future__ import annotations

import re
from dataclasses import replace

from core.backbones.record import BackboneRecord
from core.references import phrases
from core.references.items import ImageItem, References

ENDS = " ,.;"  # what a caption may end with, and what no trigger is put behind


def caption_of(words: str, prefix: str, trigger: str | None, add_trigger: bool = True) -> str:
    """Return a caption that begins with the backbone's prefix and holds the trigger word once, at its end.

    Words that hold the trigger already are left as they are.
    """
    rest = words.removeprefix(prefix).strip()
    if trigger and (add_trigger or not rest) and not phrases.names(rest, trigger):
        rest = marked(rest, trigger)
    return f"{prefix}{rest}"


def marked(words: str, trigger: str) -> str:
    """Return the words with the trigger behind them."""
    return f"{words.rstrip(ENDS)}, {trigger}" if words.rstrip(ENDS) else trigger


def without_end(words: str, trigger: str | None) -> str:
    """Return the words without a trigger that ends them."""
    plain = words.rstrip(ENDS)
    if trigger and plain.lower().endswith(trigger.lower()):
        rest = plain[: -len(trigger)]
        if not rest[-1:].isalnum():
            return rest.rstrip(ENDS)
    return words


def without(caption: str, trigger: str) -> str:
    """Return a caption without the trigger, wherever in it that stands."""
    rest = re.sub(rf"(?<!\w){re.escape(trigger)}(?!\w)", " ", caption, flags=re.IGNORECASE)
    return re.sub(r"(\s*,)+", ",", " ".join(rest.split())).strip(ENDS)


def captioned(read: References, record: BackboneRecord, trigger: str | None, *, add_trigger: bool = True) -> References:
    """Return images with captions as the backbone knows them: its prefix, what the owner wrote, and the trigger word.

    Without `add_trigger` the word goes only to images that have no caption; where it is None, to none.
    """
    items = tuple(
        replace(item, caption=caption_of(item.caption or "", record.caption_prefix, trigger, add_trigger))
        if isinstance(item, ImageItem)
        else item
        for item in read.items
    )
    return replace(read, items=items)
