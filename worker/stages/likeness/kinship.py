"""Which references are kin, by what their owner sent: pictures before they are encoded, texts as words.

Kin share a fold and none is dropped: held out while its mirror image is trained on, a reference tells nothing of unseen
data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.method.likeness import pictures, texts
from core.method.likeness.groups import grouped
from core.method.likeness.pictures import Views
from core.references import chats, phrases
from core.references.items import ImageItem, References, TextItem
from worker.stages.references import picture_of

NUMBER = re.compile(r"\d+")


def kin(given: References) -> list[int]:
    """Return a group number for every reference; kin share one."""
    found = [item for item in given.items if isinstance(item, ImageItem)]
    if found:
        views = [Views.of(picture_of(item)) for item in found]
        return grouped(len(views), pictures.kin(views, views))
    said = [_parts(item) for item in given.items if isinstance(item, TextItem)]
    plain = texts.alike([texts.Text.of(*parts) for parts in said])
    unnumbered = [texts.Text.of(_unnumbered(read), _unnumbered(learned)) for read, learned in said]
    return grouped(len(said), plain + texts.alike(unnumbered, whole=False))


def _parts(item: TextItem) -> tuple[list[str], list[str]]:
    """Return the words that are only read and those that are learned, whatever the letters' size and the marks."""
    if item.messages is not None:
        read, learned = list[str](), list[str]()
        for message in item.messages:
            (learned if chats.learned(message) else read).extend(phrases.words(chats.said(message)))
        return read, learned
    return phrases.words(item.prompt or ""), phrases.words(item.completion or item.text or "")


def _unnumbered(words: Sequence[str]) -> list[str]:
    return [NUMBER.sub("0", word) for word in words]
