"""References as they are stored, and as the trainer reads them. Pictures are carried as bytes: none is decoded."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from core import text_safety
from core.errors import InvalidInput, TooLarge
from core.references.files import archives, caption_files, names, texts
from core.references.items import LAYERS, ImageItem, References, TextItem
from core.settings import Settings

NUMBERED = re.compile(r"(.*/|^)\d{3}-")  # what `pack` puts before a name
PACKED = re.compile(r"([^/\\]+/)*[^/\\]+\.(png|txt|mask|alpha)")  # the names that it gives
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER = struct.Struct(">8x4x4xII")  # signature, length and name of the first chunk; width and height
ANY_DAY, OWNERS = (1980, 1, 1, 0, 0, 0), 0o600 << 16  # as zip has a day, and the rights of a file


def pack(references: References, path: Path) -> None:
    """Write the sanitised references as one file that `read` takes: a zip of PNG, captions and masks, or JSONL."""
    if references.kind == "texts":
        path.write_text("".join(json.dumps(item.row(), ensure_ascii=False) + "\n" for item in _texts(references)))
        return
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, item in enumerate(_images(references), 1):
            stem = names.kept(item.name, f"{number:03d}-")
            archive.writestr(entry(f"{stem}.png"), item.png)
            if item.caption:
                archive.writestr(entry(f"{stem}.txt"), item.caption)
            for layer, content in _layers(item).items():
                archive.writestr(entry(f"{stem}.{layer}"), content)


def entry(name: str) -> zipfile.ZipInfo:
    """Return what a packed file says of a part: nothing of when it was written, so that the same parts are one file."""
    said = zipfile.ZipInfo(name, ANY_DAY)
    said.external_attr = OWNERS
    return said


def read_packed(path: Path, filename: str, limits: Settings) -> References:
    """Read what `pack` wrote; raises InvalidInput for anything else.

    No picture is decoded: this runs beside credentials, and whoever packed the file may have been taken over by what it
    decoded. `limits` are those of uploads: PNG takes more bytes than the photo that it was made of, JSON more than
    plain text.
    """
    name = text_safety.display_name(filename)
    if zipfile.is_zipfile(path):
        packed = References("images", tuple(_packed_images(path, limits)))
    else:
        packed = References("texts", tuple(_packed_texts(path, name, limits)))
    if not packed.items:
        raise InvalidInput(f"{name} holds no references.", code="no_items", param="file")
    return packed


def _packed_texts(path: Path, name: str, limits: Settings) -> list[TextItem]:
    roomy = limits.model_copy(update={"max_text_bytes": 3 * limits.max_text_bytes})
    if path.stat().st_size > roomy.max_text_bytes:
        raise TooLarge(f"{name} has more than {roomy.max_text_bytes:,} bytes.", code="file_too_large", param="file")
    return texts.read_jsonl(path.read_bytes(), name, roomy).items


def _packed_images(path: Path, limits: Settings) -> list[ImageItem]:
    pngs: dict[str, bytes] = {}
    captions: dict[str, str] = {}
    layers: dict[str, dict[str, bytes]] = {}
    largest = 4 * limits.max_image_pixels + limits.max_image_bytes
    for entry in archives.entries(path, 3 * limits.max_file_bytes, largest):
        if not PACKED.fullmatch(entry.name):
            raise InvalidInput(
                f"The packed file holds {names.label(entry.name)}; upload it again.",
                code="corrupt_archive",
                param="file",
            )
        if entry.name.endswith(".txt"):
            captions[entry.name.removesuffix(".txt")] = caption_files.stored(entry.content, entry.name, limits)
            continue
        stem, _, ending = entry.name.rpartition(".")
        if ending in LAYERS:
            layers.setdefault(f"{stem}.png", {})[ending] = entry.content
            continue
        pngs[entry.name] = entry.content
        if len(pngs) > limits.max_images:
            message = f"The archive holds more than {limits.max_images} images."
            raise TooLarge(message, code="too_many_images", param="file")
    return [
        image_item(shown_name(names.label(name)), captions.get(name.removesuffix(".png")), png, layers.get(name))
        for name, png in pngs.items()
    ]


def image_item(name: str, caption: str | None, png: bytes, layers: Mapping[str, bytes] | None = None) -> ImageItem:
    """Return PNG bytes as an item, with the size that their header claims; raise InvalidInput where there is none.

    `layers` are its mask and alpha, where it has them.
    """
    layers = layers or {}
    for content in (png, *layers.values()):
        if len(content) < PNG_HEADER.size or not content.startswith(PNG_SIGNATURE):
            raise InvalidInput(f"{name} is damaged or cut short.", code="corrupt", param="file")
    width, height = PNG_HEADER.unpack_from(png)
    digest = hashlib.sha256(png).hexdigest()
    return ImageItem(name, caption or None, png, width, height, digest, layers.get("mask"), layers.get("alpha"))


def _layers(item: ImageItem) -> dict[str, bytes]:
    """Return what an image has beside its pixels, by the name of the layer."""
    found = {layer: getattr(item, layer) for layer in LAYERS}
    return {layer: content for layer, content in found.items() if content is not None}


def shown_name(name: str) -> str:
    """Return the name that its owner knows an image of a packed file by."""
    return NUMBERED.sub(r"\1", name, count=1)


def write_folder(references: References, folder: Path) -> None:
    """Write the references as the trainer reads them: items.jsonl and, for images, images/NNN.png and their masks."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, item in enumerate(references.items, 1):
        if isinstance(item, ImageItem):
            file = f"images/{number:03d}.png"
            (folder / file).write_bytes(item.png)
            layers = {layer: f"images/{number:03d}.{layer}.png" for layer in _layers(item)}
            for layer, content in _layers(item).items():
                (folder / layers[layer]).write_bytes(content)
            lines.append({"name": item.name, "caption": item.caption, "file": file, **layers})
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
            layers = {layer: (folder / line[layer]).read_bytes() for layer in LAYERS if layer in line}
            items.append(image_item(line["name"], line["caption"], (folder / line["file"]).read_bytes(), layers))
        else:
            items.append(TextItem.of(line))
    return References("images" if isinstance(items[0], ImageItem) else "texts", tuple(items))


def _images(references: References) -> list[ImageItem]:
    return [item for item in references.items if isinstance(item, ImageItem)]


def _texts(references: References) -> list[TextItem]:
    return [item for item in references.items if isinstance(item, TextItem)]
