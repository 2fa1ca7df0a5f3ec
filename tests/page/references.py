"""Files as visitors choose them: pictures, texts, a zip, and such as nobody should send."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from playwright.sync_api import FilePayload

from benchmarks.reports.material import picture


def file(name: str, content: bytes, kind: str = "application/octet-stream") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": content}


def pictures(count: int = 6) -> list[FilePayload]:
    """Pictures without a word, none of them like another."""
    return [file(f"cat-{number}.png", picture(number), "image/png") for number in range(count)]


def texts(count: int = 6) -> list[FilePayload]:
    return [
        file(f"{n}.txt", f"Arr, sea number {n} lies to the west of us.".encode(), "text/plain") for n in range(count)
    ]


def packed(files: Mapping[str, bytes | str], name: str = "references.zip") -> FilePayload:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for inner, content in files.items():
            archive.writestr(inner, content)
    return file(name, buffer.getvalue(), "application/zip")


def captioned(count: int = 4) -> FilePayload:
    """A zip of pictures with their captions beside them."""
    found: dict[str, bytes | str] = {}
    for number in range(count):
        found |= {f"{number}.png": picture(number), f"{number}.txt": f"sks cat number {number}"}
    return packed(found, "cat.zip")
