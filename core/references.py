"""Read what users upload, trusting nothing: content is sniffed, counted, cleaned and re-encoded."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from PIL import Image

from core import archives, findings, images, rows, text_safety
from core.captions import Captions, is_captions
from core.errors import InvalidInput, TooLarge, UnsupportedMedia
from core.findings import Finding, Seen
from core.fingerprints import TextPrint
from core.rows import TextItem
from core.settings import Settings

Kind = Literal["images", "texts"]
NUMBERED = re.compile(r"^\d{3}-")  # what `pack` puts before a name


@dataclass(frozen=True)
class ImageItem:
    """One reference image: PNG bytes without metadata, and its caption."""

    name: str
    caption: str | None
    png: bytes
    width: int
    height: int
    sha256: str
    turned: bool = False  # as its EXIF orientation said


@dataclass(frozen=True)
class References:
    """Everything of one upload, or of one job, that can be trained on."""

    kind: Kind
    items: tuple[ImageItem | TextItem, ...]
    findings: tuple[Finding, ...] = ()
    prints: tuple[bytes | None, ...] = ()  # of images, in their order: see core.fingerprints
    text_prints: tuple[TextPrint, ...] = ()  # of texts


def read(path: Path, filename: str, limits: Settings) -> References:
    """Read an upload by its content, whatever its name says.

    An image, a zip of images with captions (core.captions), JSONL, or plain text in paragraphs. Raises
    InvalidInput, TooLarge or UnsupportedMedia with a message that names the file or the line, and what to do.
    """
    kind, items, found = _parsed(path, filename, limits)
    return _judged(kind, items, found)


def _parsed(path: Path, filename: str, limits: Settings) -> tuple[Kind, Sequence[ImageItem | TextItem], list[Finding]]:
    name = text_safety.display_name(filename)
    if path.stat().st_size > limits.max_file_bytes:
        raise TooLarge(f"{name} has more than {limits.max_file_bytes:,} bytes.", code="file_too_large", param="file")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InvalidInput(f"{name} is empty.", code="empty", param="file")
    items: Sequence[ImageItem | TextItem]
    found: list[Finding] = []
    if zipfile.is_zipfile(path) and head.startswith(b"PK"):
        items, found = _read_archive(path, limits)
    elif images.looks_like_image(head):
        items = [_image(_bounded(path, limits.max_image_bytes, name), name, None, limits)]
    else:
        items, found = _read_texts(path, name, head, limits)
    if not items and found:
        raise InvalidInput(f"{name} holds no references: {found[0].message}", code="no_items", param="file")
    if not items:
        raise InvalidInput(f"{name} holds no references: no image and no text.", code="no_items", param="file")
    return "images" if isinstance(items[0], ImageItem) else "texts", items, found


def too_much(limits: Settings) -> TooLarge:
    """Say that the references take too much room once they are kept as PNG or JSONL."""
    message = f"Kept as PNG, the pictures take more than {limits.max_file_bytes:,} bytes; send fewer or smaller ones."
    return TooLarge(message, code="file_too_large", param="file")


def merge(parts: Sequence[References]) -> References:
    """Return several uploads as one set; raise InvalidInput where images and texts are mixed."""
    kinds = {part.kind for part in parts}
    if len(kinds) != 1:
        raise InvalidInput(
            "A job learns from images or from texts; these files hold both.", code="mixed_kinds", param="training_file"
        )
    items = _without_copies([item for part in parts for item in part.items])
    return References(kinds.pop(), tuple(items), tuple(finding for part in parts for finding in part.findings))


def pack(references: References, path: Path) -> None:
    """Write the sanitised references as one file that `read` takes: a zip of PNG and captions, or JSONL."""
    if references.kind == "texts":
        path.write_text("".join(json.dumps(item.row(), ensure_ascii=False) + "\n" for item in _texts(references)))
        return
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, item in enumerate(_images(references), 1):
            stem = f"{number:03d}-{_stem(item.name)}"
            archive.writestr(f"{stem}.png", item.png)
            if item.caption:
                archive.writestr(f"{stem}.txt", item.caption)


def read_packed(path: Path, filename: str, limits: Settings) -> References:
    """Read what `pack` wrote, without findings: they stand in the row of the file.

    PNG takes more bytes than the photo that it was made of, JSON more than plain text.
    """
    roomy = {
        "max_file_bytes": 3 * limits.max_file_bytes,
        "max_image_bytes": 4 * limits.max_image_pixels + limits.max_image_bytes,
        "max_text_bytes": 3 * limits.max_text_bytes,
    }
    kind, items, _ = _parsed(path, filename, limits.model_copy(update=roomy))
    shown = (replace(item, name=shown_name(item.name)) if isinstance(item, ImageItem) else item for item in items)
    return References(kind, tuple(shown))


def shown_name(name: str) -> str:
    """Return the name that its owner knows an image of a packed file by."""
    return NUMBERED.sub("", name)


def write_folder(references: References, folder: Path) -> None:
    """Write the references as the trainer reads them: items.jsonl and, for images, images/NNN.png."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, item in enumerate(references.items, 1):
        if isinstance(item, ImageItem):
            file = f"images/{number:03d}.png"
            (folder / file).write_bytes(item.png)
            lines.append({"name": item.name, "caption": item.caption, "file": file})
        else:
            lines.append(item.row())
    (folder / "items.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_folder(folder: Path) -> References:
    """Read what `write_folder` wrote."""
    # not splitlines, which cuts at U+2028 too
    lines = [json.loads(line) for line in (folder / "items.jsonl").read_text().split("\n") if line]
    items: list[ImageItem | TextItem] = []
    for line in lines:
        if "file" in line:
            png = (folder / line["file"]).read_bytes()
            width, height = Image.open(io.BytesIO(png)).size
            items.append(ImageItem(line["name"], line["caption"], png, width, height, hashlib.sha256(png).hexdigest()))
        else:
            messages = tuple(line["messages"]) if "messages" in line else None
            items.append(TextItem(messages, line.get("prompt"), line.get("completion"), line.get("text")))
    return References("images" if isinstance(items[0], ImageItem) else "texts", tuple(items))


def _read_archive(path: Path, limits: Settings) -> tuple[list[ImageItem], list[Finding]]:
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
    items = [_as_item(picture, names[stem], captions.get(stem)) for stem, picture in pictures.items()]
    lost = captions.without(set(pictures))
    return items, [findings.captions_without_image(lost)] if lost else []


def _read_texts(path: Path, name: str, head: bytes, limits: Settings) -> tuple[list[TextItem], list[Finding]]:
    if b"\0" in head or head.startswith((b"%PDF", b"<", b"%!PS", b"8BPS", b"\x1f\x8b")):
        raise UnsupportedMedia(
            f"{name} is none of: JPEG, PNG or WebP image, zip of images, JSONL, plain UTF-8 text.",
            code="unsupported_media", param="file",
        )  # fmt: skip
    content = _bounded(path, limits.max_text_bytes, name)
    if not rows.looks_like_jsonl(head):
        return rows.read_plain(content, name, limits), []
    read = rows.read_jsonl(content, name, limits)
    return read.items, [findings.answers_left_out(read.left_out)] if read.left_out else []


def _bounded(path: Path, most: int, name: str) -> bytes:
    if path.stat().st_size > most:
        raise TooLarge(f"{name} has more than {most:,} bytes.", code="file_too_large", param="file")
    return path.read_bytes()


def _image(content: bytes, name: str, caption: str | None, limits: Settings) -> ImageItem:
    return _as_item(images.decode(content, name, limits), name, caption)


def _as_item(picture: images.Picture, name: str, caption: str | None) -> ImageItem:
    digest = hashlib.sha256(picture.png).hexdigest()
    return ImageItem(name, caption or None, picture.png, picture.width, picture.height, digest, picture.turned)


def _without_copies(items: Sequence[ImageItem | TextItem]) -> list[ImageItem | TextItem]:
    """Each item once: a second copy would stand in two folds and fool the held-out loss."""
    return list(
        {(item.sha256 if isinstance(item, ImageItem) else item.words()): item for item in reversed(items)}.values()
    )[::-1]


def _judged(kind: Kind, given: Sequence[ImageItem | TextItem], found: Sequence[Finding] = ()) -> References:
    items = _without_copies(given)
    told = list(found)
    if copies := len(given) - len(items):
        told.append(findings.copies_left_out(copies))
    pictures = [item for item in items if isinstance(item, ImageItem)]
    prints = tuple(_print(item) for item in pictures)
    told += findings.of_images(
        [
            Seen(item.name, item.width, item.height, item.caption, print, item.turned)
            for item, print in zip(pictures, prints, strict=True)
        ]
    )
    said = [item for item in items if isinstance(item, TextItem)]
    text_prints = tuple(item.print() for item in said)
    told += findings.of_texts(said, text_prints)
    return References(kind, tuple(items), tuple(told), prints, text_prints)


def _print(item: ImageItem) -> bytes | None:
    with Image.open(io.BytesIO(item.png)) as image:
        return None if image.getcolors(maxcolors=1) else images.fingerprint(image)


def _images(references: References) -> list[ImageItem]:
    return [item for item in references.items if isinstance(item, ImageItem)]


def _texts(references: References) -> list[TextItem]:
    return [item for item in references.items if isinstance(item, TextItem)]


def _stem(name: str) -> str:
    return text_safety.stem(name) or "image"
