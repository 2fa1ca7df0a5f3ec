"""Read what users upload, trusting nothing: content is sniffed, counted, cleaned and re-encoded."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from PIL import Image, ImageChops, ImageStat

from core import archives, images, rows, texts
from core.errors import InvalidInput, TooLarge, UnsupportedMedia
from core.rows import TextItem
from core.settings import Settings

Kind = Literal["images", "texts"]
FEW_ITEMS = 4
SMALL_SIDE = 64
LONG_TEXT_CHARACTERS = 8_000
COPY_SIDE = 32
SAME_PICTURE_LEVELS = 3.0  # of 256: a re-encoding differs by about 2, one cat with two expressions by 4 and more
CAPTIONS = "metadata.jsonl"
MAX_CAPTIONS_BYTES = 2_000_000  # of one file with captions


@dataclass(frozen=True)
class Finding:
    """Something about the references that their owner should know; it stops nothing."""

    code: str
    message: str
    item: str | None = None
    severity: Literal["info", "warn"] = "warn"


@dataclass(frozen=True)
class ImageItem:
    """One reference image: PNG bytes without metadata, and its caption."""

    name: str
    caption: str | None
    png: bytes
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class References:
    """Everything of one upload, or of one job, that can be trained on."""

    kind: Kind
    items: tuple[ImageItem | TextItem, ...]
    findings: tuple[Finding, ...] = ()


def read(path: Path, filename: str, limits: Settings) -> References:
    """Read an upload by its content, whatever its name says.

    An image, a zip of images with `.txt` captions or a metadata.jsonl, JSONL, or plain text in paragraphs. Raises
    InvalidInput, TooLarge or UnsupportedMedia with a message that names the file or the line, and what to do.
    """
    name = texts.display_name(filename)
    if path.stat().st_size > limits.max_file_bytes:
        raise TooLarge(f"{name} has more than {limits.max_file_bytes:,} bytes.", code="file_too_large", param="file")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InvalidInput(f"{name} is empty.", code="empty", param="file")
    items: Sequence[ImageItem | TextItem]
    if zipfile.is_zipfile(path) and head.startswith(b"PK"):
        items = _read_archive(path, limits)
    elif images.looks_like_image(head):
        items = [_image(_bounded(path, limits.max_image_bytes, name), name, None, limits)]
    else:
        items = _read_texts(path, name, head, limits)
    if not items:
        raise InvalidInput(f"{name} holds no references: no image and no text.", code="no_items", param="file")
    return _judged("images" if isinstance(items[0], ImageItem) else "texts", items)


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
    return _judged(kinds.pop(), [item for part in parts for item in part.items])


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
    """Read what `pack` wrote: PNG takes more bytes than the photo that it was made of, JSON more than plain text."""
    roomy = {
        "max_file_bytes": 3 * limits.max_file_bytes,
        "max_image_bytes": 4 * limits.max_image_pixels + limits.max_image_bytes,
        "max_text_bytes": 3 * limits.max_text_bytes,
    }
    return read(path, filename, limits.model_copy(update=roomy))


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


def _read_archive(path: Path, limits: Settings) -> list[ImageItem]:
    pictures: dict[str, images.Picture] = {}
    captions: dict[str, str] = {}
    names: dict[str, str] = {}
    kept_bytes = 0
    for entry in archives.entries(path, limits.max_file_bytes, limits.max_image_bytes):
        stem = PurePosixPath(entry.name).stem
        label = texts.display_name(entry.name)
        if PurePosixPath(entry.name).name == CAPTIONS:
            captions |= _table(entry, label, limits)
        elif entry.name.lower().endswith(".txt"):
            if stem in captions:
                raise _named_twice("captions", label)
            captions[stem] = _caption(_decoded(entry.content, label), label, limits)
        else:
            if len(pictures) == limits.max_images:
                raise TooLarge(
                    f"The archive holds more than {limits.max_images} images.", code="too_many_images", param="file"
                )
            if stem in pictures:
                raise _named_twice("images", label)
            names[stem] = label
            pictures[stem] = images.decode(entry.content, label, limits)
            kept_bytes += len(pictures[stem].png)
            if kept_bytes > limits.max_file_bytes:
                raise too_much(limits)
    return [_as_item(picture, names[stem], captions.get(stem)) for stem, picture in pictures.items()]


def _table(entry: archives.Entry, label: str, limits: Settings) -> dict[str, str]:
    """Captions from a metadata.jsonl with `file_name` and `text`."""
    found = {}
    for number, line in enumerate(_decoded(entry.content, label).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found[PurePosixPath(row["file_name"]).stem] = _caption(row["text"], label, limits)
        except InvalidInput:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            message = f'Line {number} of {label} is not {{"file_name": "...", "text": "..."}}.'
            raise InvalidInput(message, code="invalid_line", param="file") from error
    return found


def _caption(text: str, label: str, limits: Settings) -> str:
    text = texts.clean(" ".join(text.split()))
    if len(text) > limits.max_caption_characters:
        raise InvalidInput(
            f"A caption in {label} has {len(text)} characters; {limits.max_caption_characters} are taken.",
            code="caption_too_long", param="file",
        )  # fmt: skip
    return text


def _named_twice(what: str, label: str) -> InvalidInput:
    return InvalidInput(f"Two {what} are named as {label}; give each its own.", code="duplicate_name", param="file")


def _decoded(content: bytes, name: str) -> str:
    if len(content) > MAX_CAPTIONS_BYTES:
        raise TooLarge(f"{name} has more than {MAX_CAPTIONS_BYTES:,} bytes.", code="text_too_large", param="file")
    try:
        return texts.decode(content)
    except texts.UncleanText as error:
        raise InvalidInput(f"{name} is not clean text: {error}.", code="encoding", param="file") from error


def _read_texts(path: Path, name: str, head: bytes, limits: Settings) -> list[TextItem]:
    if b"\0" in head or head.startswith((b"%PDF", b"<", b"%!PS", b"8BPS", b"\x1f\x8b")):
        raise UnsupportedMedia(
            f"{name} is none of: JPEG, PNG or WebP image, zip of images, JSONL, plain UTF-8 text.",
            code="unsupported_media", param="file",
        )  # fmt: skip
    content = _bounded(path, limits.max_text_bytes, name)
    return (rows.read_jsonl if rows.looks_like_jsonl(head) else rows.read_plain)(content, name, limits)


def _bounded(path: Path, most: int, name: str) -> bytes:
    if path.stat().st_size > most:
        raise TooLarge(f"{name} has more than {most:,} bytes.", code="file_too_large", param="file")
    return path.read_bytes()


def _image(content: bytes, name: str, caption: str | None, limits: Settings) -> ImageItem:
    return _as_item(images.decode(content, name, limits), name, caption)


def _as_item(picture: images.Picture, name: str, caption: str | None) -> ImageItem:
    return ImageItem(
        name, caption or None, picture.png, picture.width, picture.height, hashlib.sha256(picture.png).hexdigest()
    )


def _without_copies(items: Sequence[ImageItem | TextItem]) -> list[ImageItem | TextItem]:
    """Each item once: a second copy would stand in two folds and fool the held-out loss."""
    return list(
        {(item.sha256 if isinstance(item, ImageItem) else item.words()): item for item in reversed(items)}.values()
    )[::-1]


def _judged(kind: Kind, given: Sequence[ImageItem | TextItem]) -> References:
    items = _without_copies(given)
    findings = list(_image_findings([item for item in items if isinstance(item, ImageItem)]))
    if copies := len(given) - len(items):
        findings.append(Finding("duplicate_item", f"{copies} exact copies were left out; each counts once."))
    findings += _text_findings([item for item in items if isinstance(item, TextItem)])
    return References(kind, tuple(items), tuple(findings))


def _image_findings(items: Sequence[ImageItem]) -> Iterable[Finding]:
    copies: list[tuple[str, Image.Image]] = []
    if 0 < len(items) < FEW_ITEMS:
        yield Finding("few_items", f"There are only {len(items)} images; four or more give a clear result.")
    if small := [item for item in items if min(item.width, item.height) < SMALL_SIDE]:
        yield Finding("too_small", f"{len(small)} images have a side below {SMALL_SIDE} pixels.", small[0].name)
    if bare := [item for item in items if not item.caption]:
        yield Finding(
            "empty_caption", f"{len(bare)} images have no caption, {bare[0].name} first; add a .txt of the same name.",
            bare[0].name,
        )  # fmt: skip
    for item in items:
        with Image.open(io.BytesIO(item.png)) as image:
            if image.getcolors(maxcolors=1):
                yield Finding("single_colour", f"{item.name} is one flat colour; it teaches nothing.", item.name)
            copy = _grey_copy(image)
        for other, known in copies:
            if _distance(copy, known) < SAME_PICTURE_LEVELS:
                yield Finding(
                    "near_duplicate", f"{item.name} and {other} are nearly the same picture; keep one.", item.name
                )
        copies.append((item.name, copy))


def _text_findings(items: Sequence[TextItem]) -> Iterable[Finding]:
    if 0 < len(items) < FEW_ITEMS:
        yield Finding("few_items", f"There are only {len(items)} texts; eight or more give a clear result.")
    for number, item in enumerate(items, 1):
        if len(item.words()) > LONG_TEXT_CHARACTERS:
            yield Finding(
                "too_long", f"Text {number} is long and will be cut; split it into several.", f"text {number}"
            )


def _grey_copy(image: Image.Image) -> Image.Image:
    return image.convert("L").resize((COPY_SIDE, COPY_SIDE), Image.Resampling.BILINEAR)


def _distance(first: Image.Image, second: Image.Image) -> float:
    """Mean difference of two grey copies, in levels of 256."""
    return float(ImageStat.Stat(ImageChops.difference(first, second)).mean[0])


def _images(references: References) -> list[ImageItem]:
    return [item for item in references.items if isinstance(item, ImageItem)]


def _texts(references: References) -> list[TextItem]:
    return [item for item in references.items if isinstance(item, TextItem)]


def _stem(name: str) -> str:
    return PurePosixPath(name).stem[:60] or "image"
