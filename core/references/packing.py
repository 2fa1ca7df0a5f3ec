"""References as they are stored, and as the trainer reads them."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from core import text_safety
from core.references.items import ImageItem, References, TextItem
from core.references.parsing import parse
from core.settings import Settings

NUMBERED = re.compile(r"^\d{3}-")  # what `pack` puts before a name


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
    packed = parse(path, filename, limits.model_copy(update=roomy))
    return References(packed.kind, tuple(_shown(item) for item in packed.items))


def _shown(item: ImageItem | TextItem) -> ImageItem | TextItem:
    return replace(item, name=shown_name(item.name)) if isinstance(item, ImageItem) else item


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


def _images(references: References) -> list[ImageItem]:
    return [item for item in references.items if isinstance(item, ImageItem)]


def _texts(references: References) -> list[TextItem]:
    return [item for item in references.items if isinstance(item, TextItem)]


def _stem(name: str) -> str:
    return text_safety.stem(name) or "image"
