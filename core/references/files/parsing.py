"""Read what users upload, trusting nothing: content is sniffed, counted, cleaned and re-encoded."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core import text_safety
from core.errors import InvalidInput, TooLarge, UnsupportedMedia
from core.references.files import archives, images, texts
from core.references.files.caption_files import Captions, is_captions
from core.references.items import ImageItem, Kind, TextItem
from core.references.notices import Notice
from core.settings import Settings


@dataclass(frozen=True)
class Parsed:
    """What a file holds, and what was noticed while it was read: what was passed over, cleaned or changed."""

    kind: Kind
    items: Sequence[ImageItem | TextItem]
    notices: Sequence[Notice] = ()


def parse(path: Path, filename: str, limits: Settings) -> Parsed:
    """Read a file by its content, whatever its name says; copies are still in it.

    An image, a zip of images with captions (see caption_files), JSONL, or plain text in paragraphs. Raises
    InvalidInput, TooLarge or UnsupportedMedia with a message that names the file or the line, and what to do.
    """
    name = text_safety.display_name(filename)
    if path.stat().st_size > limits.max_file_bytes:
        raise TooLarge(f"{name} has more than {limits.max_file_bytes:,} bytes.", code="file_too_large", param="file")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InvalidInput(f"{name} is empty.", code="empty", param="file")
    if zipfile.is_zipfile(path) and head.startswith(b"PK"):
        return _read_archive(path, limits)
    if images.looks_like_image(head):
        return Parsed("images", [_image(_bounded(path, limits.max_image_bytes, name), name, None, limits)])
    return _read_texts(path, name, head, limits)


def too_much(limits: Settings) -> TooLarge:
    """Say that the references take too much room once they are kept as PNG or JSONL."""
    message = f"Kept as PNG, the pictures take more than {limits.max_file_bytes:,} bytes; send fewer or smaller ones."
    return TooLarge(message, code="file_too_large", param="file")


def _read_archive(path: Path, limits: Settings) -> Parsed:
    pictures: dict[str, images.Picture] = {}
    captions = Captions(limits)
    names: dict[str, str] = {}
    kept_bytes = 0
    for entry in archives.entries(path, limits.max_file_bytes, limits.max_image_bytes):
        if is_captions(entry.name):
            captions.read(entry.name, entry.content)
            continue
        stem, label = PurePosixPath(entry.name).stem, text_safety.display_name(entry.name)
        if len(pictures) == limits.max_images:
            message = f"The archive holds more than {limits.max_images} images."
            raise TooLarge(message, code="too_many_images", param="file")
        if stem in pictures:
            message = f"Two images are named as {label}; give each its own."
            raise InvalidInput(message, code="duplicate_name", param="file")
        names[stem], pictures[stem] = label, images.decode(entry.content, label, limits)
        kept_bytes += len(pictures[stem].png)
        if kept_bytes > limits.max_file_bytes:
            raise too_much(limits)
    items = [as_item(picture, names[stem], captions.get(stem)) for stem, picture in pictures.items()]
    notices = [Notice("caption_without_image", name) for name in captions.without(set(pictures))]
    return Parsed("images", items, notices)


def _read_texts(path: Path, name: str, head: bytes, limits: Settings) -> Parsed:
    if b"\0" in head or head.startswith((b"%PDF", b"<", b"%!PS", b"8BPS", b"\x1f\x8b")):
        raise UnsupportedMedia(
            f"{name} is none of: JPEG, PNG or WebP image, zip of images, JSONL, plain UTF-8 text.",
            code="unsupported_media",
            param="file",
        )
    content = _bounded(path, limits.max_text_bytes, name)
    if not texts.looks_like_jsonl(head):
        return Parsed("texts", texts.read_plain(content, name, limits))
    read = texts.read_jsonl(content, name, limits)
    return Parsed("texts", read.items, tuple(read.notices))


def _bounded(path: Path, most: int, name: str) -> bytes:
    if path.stat().st_size > most:
        raise TooLarge(f"{name} has more than {most:,} bytes.", code="file_too_large", param="file")
    return path.read_bytes()


def _image(content: bytes, name: str, caption: str | None, limits: Settings) -> ImageItem:
    return as_item(images.decode(content, name, limits), name, caption)


def as_item(picture: images.Picture, name: str, caption: str | None) -> ImageItem:
    digest = hashlib.sha256(picture.png).hexdigest()
    return ImageItem(name, caption or None, picture.png, picture.width, picture.height, digest, picture.turned)
