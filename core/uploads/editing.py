"""The single items of a stored upload, to be looked at or captioned anew; done where uploads are decoded."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from core.errors import InvalidInput
from core.findings import uploads
from core.references import packing
from core.references.files import texts
from core.references.files.formats import PICTURES
from core.references.items import LAYERS, ImageItem, TextItem
from core.settings import Settings
from core.uploads import turns

THUMBNAIL_SIDE = 96
THUMBNAIL_QUALITY = 80
SHOWN_CHARACTERS = 2_000
Row = dict[str, Any]


def show(path: Path, limits: Settings, start: int, count: int, thumbnails: bool) -> list[Row]:
    """Describe `count` items of a packed file from the place `start` on, counted from 0."""
    if not zipfile.is_zipfile(path):
        given = texts.read_jsonl(path.read_bytes(), "the file", _roomy(limits)).items
        shown = enumerate(given[start : start + count], start)
        return [_text(item, place) for place, item in shown]
    with zipfile.ZipFile(path) as archive:
        names = _pictures(archive)[start : start + count]
        return [_picture(archive, name, place, thumbnails) for place, name in enumerate(names, start)]


def caption(path: Path, packed: Path, changes: Mapping[int, str]) -> dict[str, Any]:
    """Write the packed file anew with other captions, "" for none; returns all captions and what to say of them."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as changed:
        names = _pictures(archive)
        captions = {place: _caption(archive, name) for place, name in enumerate(names)} | dict(changes)
        for place, name in enumerate(names):
            changed.writestr(packing.entry(name), archive.read(name))
            if captions[place]:
                changed.writestr(packing.entry(_beside(name)), captions[place])
            for layer in (_beside(name, f".{layer}") for layer in LAYERS):
                if layer in archive.NameToInfo:
                    changed.writestr(packing.entry(layer), archive.read(layer))
    shown = [(packing.shown_name(name), captions[place]) for place, name in enumerate(names)]
    return {
        "kind": "images",
        "items": len(names),
        "captions": [words for _, words in shown],
        "findings": [vars(finding) for finding in uploads.of_captions(shown)],
    }


def read_changes(path: Path, items: int) -> dict[int, str]:
    """Read the changes that the API has written, each the caption of the image at a place."""
    changes = {int(place): str(words) for place, words in json.loads(path.read_text()).items()}
    if not all(0 <= place < items for place in changes):
        raise InvalidInput("There is no such item.", code="item_not_found", param="items")
    return changes


def pictures_in(path: Path) -> int:
    """Count the images of a packed file."""
    with zipfile.ZipFile(path) as archive:
        return len(_pictures(archive))


def _pictures(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.endswith(".png")]


def _beside(name: str, ending: str = ".txt") -> str:
    return str(PurePosixPath(name).with_suffix(ending))


def _caption(archive: zipfile.ZipFile, name: str) -> str:
    beside = _beside(name)
    return archive.read(beside).decode() if beside in archive.NameToInfo else ""


def _picture(archive: zipfile.ZipFile, name: str, place: int, thumbnails: bool) -> Row:
    with Image.open(io.BytesIO(archive.read(name)), formats=PICTURES) as image:
        width, height = image.size
        small = _thumbnail(image) if thumbnails else None
    return {
        "index": place,
        "kind": "image",
        "filename": packing.shown_name(name),
        "width": width,
        "height": height,
        "caption": _caption(archive, name) or None,
        "thumbnail": small,
    }


def _text(item: ImageItem | TextItem, place: int) -> Row:
    assert isinstance(item, TextItem)
    said = None if item.messages is None else turns.shown(item.messages)
    return {"index": place, "kind": "text", **_words(item.words()), "messages": said}


def cover(png: bytes) -> str:
    """Return a small picture of a reference, as a data URI: it stands for its upload in lists."""
    with Image.open(io.BytesIO(png)) as image:
        return _thumbnail(image)


def _thumbnail(image: Image.Image) -> str:
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _words(text: str) -> Row:
    return {"text": text[:SHOWN_CHARACTERS], "cut": len(text) > SHOWN_CHARACTERS, "characters": len(text)}


def _roomy(limits: Settings) -> Settings:
    return limits.model_copy(update={"max_text_bytes": 3 * limits.max_text_bytes})
