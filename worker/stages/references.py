"""The references in the job folder; their pictures, which the supervisor has only copied, are decoded here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from core.errors import InvalidInput, JobFailure
from core.references import packing
from core.references.files import images
from core.references.items import ImageItem, References


def read_references(folder: Path) -> References:
    """Read the references of a job, or its validation data; raises JobFailure where they can't be used."""
    with _unusable_ends_the_job():
        return packing.read_folder(folder)


def picture_of(item: ImageItem) -> Image.Image:
    """Decode a picture; raises JobFailure where it can't be."""
    with _unusable_ends_the_job():
        return images.decode_packed(item.png, item.name)


def greys_of(layer: bytes, name: str) -> Image.Image:
    """Decode the mask or the alpha of a picture; raises JobFailure where it can't be."""
    with _unusable_ends_the_job():
        return images.decode_packed(layer, name, "L")


@contextmanager
def _unusable_ends_the_job() -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise JobFailure(error.message, code="invalid_training_file", param="training_file") from error
