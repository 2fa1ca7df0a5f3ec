"""Sets of files as they come: in a zip, or in a folder."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

from core.settings import Settings
from core.uploads import reading
from core.uploads.reading import JudgedReferences

ReadZip = Callable[..., JudgedReferences]


def drawn(number: int = 0, format: str = "PNG") -> bytes:
    """A picture of its own for every number."""
    image = Image.radial_gradient("L").resize((80, 70)).convert("RGB")
    image.paste((17 * number % 256, 71 * number % 256, 131 * number % 256), (5, 5, 10 + number % 60, 60))
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def read_zip(tmp_path: Path) -> ReadZip:
    def read(files: Mapping[str, bytes], **options: bool) -> JudgedReferences:
        path = tmp_path / "set.zip"
        path.write_bytes(zipped(files))
        return reading.read(path, "set.zip", Settings(data=tmp_path), **options)

    return read
