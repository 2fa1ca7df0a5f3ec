"""What is kept of an upload beside its bytes, so that a job can be judged without decoding: sizes, prints and hashes.

Words of captions are kept as checksums, which is enough to look for a trigger word; no text is kept. A placeholder for
the trigger word is kept as the number -1, which no checksum is. The decoder puts a small picture of the first image
beside it, `cover`, which stands for the upload in lists.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from core.findings.fingerprints import PRINT_BYTES, TextPrint
from core.findings.texts.lengths import TextSize
from core.references import phrases, templates
from core.references.captions import PLACEHOLDER
from core.references.items import LAYERS, ImageItem, TextItem
from core.references.notices import Notice

PLACED = -1  # stands for a placeholder
VERSION = 3  # of what is kept: prints of another making can't be compared with these


@dataclass(frozen=True)
class PictureProfile:
    """An image of an upload; `words` are checksums of its caption's words in their order, `PLACED` among them."""

    name: str
    width: int
    height: int
    print: bytes | None
    digest: str  # of its pixels: equal ones are copies
    words: tuple[int, ...]
    layers: frozenset[str] = frozenset()  # what it has of LAYERS
    blank: frozenset[str] = frozenset()  # and which of them leave nothing to be learned
    changes: tuple[Notice, ...] | None = None  # what was done to its pixels; None: from before that was kept


@dataclass(frozen=True)
class Profile:
    """An upload; one of the two is empty."""

    pictures: tuple[PictureProfile, ...] = ()
    texts: tuple[TextPrint, ...] = ()
    sizes: tuple[TextSize, ...] = ()  # of the texts; of uploads from before they were kept there are none
    with_system: int = 0  # texts that begin with a system prompt; of uploads from before they were counted 0
    with_tools: int = 0  # texts that declare tools or call them


def of(
    items: Sequence[ImageItem | TextItem],
    prints: Sequence[bytes | None],
    text_prints: Sequence[TextPrint],
    blank: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """Describe references that were just read, as JSON; the prints of images and of texts stand in their order.

    `blank` are the places of images, by layer, whose mask or alpha leaves nothing to be learned.
    """
    pictures = [item for item in items if isinstance(item, ImageItem)]
    images = [
        [item.name, item.width, item.height, _text(print), item.sha256, caption_checksums(item.caption or "")]
        for item, print in zip(pictures, prints, strict=True)
    ]
    texts = [[print.exact, print.near] for print in text_prints]
    said = [item for item in items if isinstance(item, TextItem)]
    sizes = [astuple(TextSize.of(item)) for item in said]
    counts = {
        "with_system": sum(map(templates.begins_with_system, said)),
        "with_tools": sum(item.uses_tools for item in said),
    }
    held = {
        layer: [place for place, item in enumerate(pictures) if getattr(item, layer) is not None] for layer in LAYERS
    }
    layers = {"layers": held, "blank": {layer: list(places) for layer, places in (blank or {}).items()}}
    changes = [[[change.code, change.detail] for change in item.changes] for item in pictures]
    return {
        "version": VERSION,
        "images": images,
        "texts": texts,
        "sizes": sizes,
        "changes": changes,
        **counts,
        **layers,
    }


def with_captions(content: dict[str, Any], captions: Sequence[str | None]) -> dict[str, Any]:
    """Return the JSON of a profile with other captions, one for each image."""
    images = [
        [*row[:5], caption_checksums(words or "")] for row, words in zip(content["images"], captions, strict=True)
    ]
    return {**content, "images": images}


def parse(content: dict[str, Any] | None) -> Profile | None:
    """Read what `of` made; None for an upload from before there were such profiles."""
    if not content or content.get("version") != VERSION:
        return None
    try:
        pictures = [
            PictureProfile(
                name,
                width,
                height,
                _bytes(print),
                str(digest),
                tuple(words),
                _at(place, content.get("layers", {})),
                _at(place, content.get("blank", {})),
                _changes(place, name, content),
            )
            for place, (name, width, height, print, digest, words) in enumerate(content["images"])
        ]
        texts = tuple(TextPrint(exact, near) for exact, near in content["texts"])
        sizes = tuple(TextSize(int(length), int(exchanges)) for length, exchanges in content.get("sizes", ()))
        system, tools = (min(len(texts), max(0, int(content.get(key, 0)))) for key in ("with_system", "with_tools"))
        return Profile(tuple(pictures), texts, sizes, system, tools)
    except (IndexError, KeyError, TypeError, ValueError):  # a decoder that was taken over may have written anything
        return None


def _changes(place: int, name: str, content: Mapping[str, Any]) -> tuple[Notice, ...] | None:
    """Return what was done to the picture at a place; None where that was not kept."""
    if "changes" not in content:
        return None
    return tuple(Notice(str(code), name, str(detail)) for code, detail in content["changes"][place])


def _at(place: int, layers: Mapping[str, Sequence[int]]) -> frozenset[str]:
    """Return the layers whose places hold this one."""
    return frozenset(layer for layer in LAYERS if place in layers.get(layer, ()))


def checksums(text: str) -> list[int]:
    """Return a checksum of each word."""
    return [zlib.crc32(word.encode()) for word in phrases.words(text)]


def caption_checksums(caption: str) -> list[int]:
    """Return a checksum of each word of a caption, and `PLACED` for each placeholder of the trigger."""
    first, *others = (checksums(part) for part in PLACEHOLDER.split(caption))
    return [*first, *(word for part in others for word in (PLACED, *part))]


def _text(print: bytes | None) -> str | None:
    return None if print is None else base64.b64encode(print).decode()


def _bytes(print: str | None) -> bytes | None:
    decoded = None if print is None else base64.b64decode(print)
    if decoded is not None and len(decoded) != PRINT_BYTES:
        raise ValueError("no print of a picture")
    return decoded
