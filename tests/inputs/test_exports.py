"""Folders of a hundred captioned photos as other programs leave or zip them: each is taken at the first try."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from core.references.items import ImageItem
from core.settings import Settings
from core.uploads import reading

NAMES = [f"Café Señor {number}" for number in range(100)]
Files = Iterator[tuple[str, bytes]]


@cache
def photo(number: int) -> bytes:
    image = Image.radial_gradient("L").resize((160, 120)).convert("RGB")
    image.paste((2 * number, 255 - 2 * number, 90), (number, 10, number + 40, 110))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def of_macos() -> Files:
    """Finder's Compress: names taken apart, and a shadow of every file."""
    yield "cats/.DS_Store", b"\0\0\0\1Bud1"
    for number, name in enumerate(NAMES):
        name = unicodedata.normalize("NFD", name)
        for ending, content in ((".jpg", photo(number)), (".txt", f"a cat, number {number}".encode())):
            yield f"cats/{name}{ending}", content
            yield f"__MACOSX/cats/._{name}{ending}", b"\0\5\x16\7" + bytes(100)


def of_powershell() -> Files:
    """Compress-Archive of Windows PowerShell 5.1: backslashes, line ends of Windows, Explorer's leavings."""
    yield "cats\\", b""
    yield "cats\\Thumbs.db", b"\xd0\xcf\x11\xe0"
    yield "cats\\desktop.ini", b"[.ShellClassInfo]\r\n"
    for number, name in enumerate(NAMES):
        yield f"cats\\{name}.JPG", photo(number)
        yield f"cats\\{name}.txt", f"\ufeffa cat, number {number}\r\n".encode()


def of_kohya() -> Files:
    """A training folder of kohya's scripts, latents, settings and samples included."""
    yield "train/dataset_config.toml", b"[general]\n"
    yield "train/log/20260101/events.out.tfevents.1", b"\0" * 30
    for number, name in enumerate(NAMES):
        stem = f"train/img/10_sks cat/{name}"
        yield f"{stem}.jpg", photo(number)
        yield f"{stem}.caption", f"a cat, number {number}\n".encode()
        yield f"{stem}.npz", b"PK\5\6" + bytes(18)
        yield f"train/reg/1_cat/{number}.png", photo(number)


def of_ai_toolkit() -> Files:
    """A data set of ai-toolkit, with its caches and its masks."""
    yield ".aitk_size.json", b"{}"
    for number, name in enumerate(NAMES):
        yield f"{name}.jpg", photo(number)
        yield f"{name}.txt", f"a cat, number {number}".encode()
        yield f"_latent_cache/{name}_a1b2.safetensors", b"\x10" + bytes(30)
        yield f"masks/{name}.png", photo(99 - number)
    yield "config.yaml", b"job: extension\n"


def of_datasets() -> Files:
    """An image folder of a hub, as git checks it out."""
    yield ".gitattributes", b"*.jpg filter=lfs\n"
    yield "README.md", b"---\nlicense: mit\n---\n"
    for number, _ in enumerate(NAMES):
        yield f"data/train/{number:04d}.jpg", photo(number)
    rows = [{"file_name": f"{number:04d}.jpg", "text": f"a cat, number {number}"} for number, _ in enumerate(NAMES)]
    yield "data/train/metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()
    yield "data/test/0000.jpg", photo(50)


EXPORTS = (of_macos, of_powershell, of_kohya, of_ai_toolkit, of_datasets)


@pytest.mark.slow
@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.__name__)
def test_a_hundred_captioned_photos_are_taken_at_the_first_try(export: Callable[[], Files], tmp_path: Path) -> None:
    path = tmp_path / "cats.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in export():
            archive.writestr(zipfile.ZipInfo(name), content)
    found = reading.read(path, "cats.zip", Settings(data=tmp_path))
    items = [item for item in found.items if isinstance(item, ImageItem)]
    assert len(items) == 100
    assert {item.caption for item in items} == {f"a cat, number {number}" for number in range(100)}
    assert "passed_over" in {finding.code for finding in found.findings}
    assert not {"image_left_out", "caption_without_image", "empty_caption"} & {each.code for each in found.findings}
