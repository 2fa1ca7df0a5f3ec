"""Read what users upload, trusting nothing: content is sniffed, counted, cleaned and re-encoded."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core import text_safety
from core.errors import InvalidInput, TooLarge, UnsupportedMedia
from core.references.faults import param_of
from core.references.files import archives, formats, images, names, texts
from core.references.files.bundle import Bundle
from core.references.files.folders import Folder
from core.references.files.sources import SentFiles
from core.references.items import ImageItem, Kind, TextItem
from core.references.notices import Notice
from core.references.rows import hygiene
from core.settings import Settings


@dataclass(frozen=True)
class Parsed:
    """What a file holds, and what was noticed while it was read: what was passed over, cleaned or changed."""

    kind: Kind
    items: Sequence[ImageItem | TextItem]
    notices: Sequence[Notice] = ()


def parse(path: Path, filename: str, limits: Settings, *, strict: bool = False) -> Parsed:
    """Read a file by its content, whatever its name says, or a folder as the zip of it; copies are still in it.

    An image, a set of images with captions or of texts (see bundle), JSONL, or plain text in paragraphs. Raises
    InvalidInput, TooLarge or UnsupportedMedia with a message that names the file or the line, and what to do.
    """
    name = text_safety.display_name(filename)
    if path.is_dir():
        return _read_folder(path, limits, strict)
    if path.stat().st_size > limits.max_file_bytes:
        raise TooLarge(f"{name} has more than {limits.max_file_bytes:,} bytes.", code="file_too_large", param="file")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InvalidInput(f"{name} is empty.", code="empty", param="file")
    if zipfile.is_zipfile(path) and head.startswith(b"PK"):
        with archives.opened(path, limits.max_file_bytes, limits.max_image_bytes) as archive:
            if (document := formats.of_zip(member.path for member in archive.members)) is not None:
                raise UnsupportedMedia(document.sentence(name), code="unsupported_media", param="file")
            return _read_set(Bundle(archive, limits, strict))
    if head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")):  # the last is the first of several parts
        message = f"{name} begins as a zip and is cut short, damaged or one of several parts; make it anew as one file."
        raise InvalidInput(message, code="corrupt_archive", param="file")
    if images.looks_like_image(head):
        content = _bounded(path, limits.max_image_bytes, name)
        return Parsed("images", [images.item(images.decode(content, name, limits), name, None)])
    return _read_texts(path, name, head, limits)


def parse_several(files: Sequence[tuple[Path, str]], limits: Settings, *, strict: bool = False) -> list[Parsed]:
    """Read files that were sent together, each by its path and name: zips one by one, all others as one set.

    Raises as `parse`, with an error that names the file.
    """
    if len(files) == 1:
        return [parse(*files[0], limits, strict=strict)]
    zips = [file for file in files if zipfile.is_zipfile(file[0])]
    others = [file for file in files if file not in zips]
    found = []
    for path, name in zips:
        try:
            found.append(parse(path, name, limits, strict=strict))
        except InvalidInput as error:
            error.param = param_of(names.label(name)) + (error.param or "")[len("file") :].replace(":", "/", 1)
            raise
    if others:
        source = SentFiles(others, limits.max_file_bytes, limits.max_image_bytes)
        found.append(_read_set(Bundle(source, limits, strict)))
    return found


def _read_folder(path: Path, limits: Settings, strict: bool) -> Parsed:
    folder = Folder(path, limits.max_file_bytes, limits.max_image_bytes)
    bundle = Bundle(folder, limits, strict)
    for name, why in folder.unreadable.items():
        bundle.notices.add("link_left_out", names.label(name), why)
    return _read_set(bundle)


def _read_set(bundle: Bundle) -> Parsed:
    kind, items = bundle.read()
    return Parsed(kind, items, tuple(bundle.notices))


def _read_texts(path: Path, name: str, head: bytes, limits: Settings) -> Parsed:
    if (format := formats.of(head)) is not None:
        raise UnsupportedMedia(format.sentence(name), code="unsupported_media", param="file")
    if b"\0" in head and not hygiene.is_text(head) and not hygiene.holds_nulls(head):
        raise UnsupportedMedia(
            f"{name} is none of: JPEG, PNG or WebP image, zip of images, JSONL, CSV, plain UTF-8 text.",
            code="unsupported_media",
            param="file",
        )
    read = texts.read(_bounded(path, limits.max_text_bytes, name), name, limits)
    return Parsed("texts", read.items, tuple(read.notices))


def _bounded(path: Path, most: int, name: str) -> bytes:
    if path.stat().st_size > most:
        raise TooLarge(f"{name} has more than {most:,} bytes.", code="file_too_large", param="file")
    return path.read_bytes()
