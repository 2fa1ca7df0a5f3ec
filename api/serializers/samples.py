"""What the adapter of a kept step draws or writes, as the wire shows it."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from api.schemas.samples import SampleObject
from core.database.tables import Artifact
from core.storage.interface import Storage

URL_SECONDS = 3600
INLINE_BYTES = 200_000  # of a picture that is shown whole in a list
THUMBNAIL_BYTES = 400_000  # more is no small picture of ours: its trainer works on what strangers send
ADDRESS = "/v1/fine_tuning/jobs/{job}/samples/{sample}/image"
NUMBERED = re.compile(r"\d{1,9}-(\d{1,9})")
Row = Mapping[str, Any]
Pictures = Mapping[str, Artifact]


def sample_object(storage: Storage, job_id: str, row: Row, pictures: Pictures) -> SampleObject:
    """Show a sample; a small picture is in the answer itself, every picture has an address, and one for a while."""
    whole, small = picture_of(row, pictures), picture_of(row, pictures, small=True)
    shown = dict(row) | {
        "number": _number(str(row["id"])),
        "image": None,
        "url": None,
        "image_url": None,
        "thumbnail": None,
    }
    if whole is not None:
        shown["url"] = storage.url(whole.storage_key, seconds=URL_SECONDS, filename=whole.name)
        shown["image_url"] = ADDRESS.format(job=job_id, sample=row["id"])
        shown["image"] = _inline(storage, whole, INLINE_BYTES)
    if small is not None:
        same = whole is not None and small.storage_key == whole.storage_key
        shown["thumbnail"] = shown["image"] if same else _inline(storage, small, THUMBNAIL_BYTES)
    return SampleObject(**shown)


def _number(identifier: str) -> int | None:
    """Return which of a step's samples this is; None in a job of an older version."""
    found = NUMBERED.fullmatch(identifier)
    return int(found[1]) if found else None


def picture_of(row: Row, pictures: Pictures, *, small: bool = False) -> Artifact | None:
    """Return a sample's picture, or the small one of it; None of a text."""
    return pictures.get(str(row.get("thumbnail" if small else "image") or "").rpartition("/")[2])


def _inline(storage: Storage, picture: Artifact, most: int) -> str | None:
    if picture.bytes > most:
        return None
    with storage.open(picture.storage_key) as file:
        return f"data:image/png;base64,{base64.b64encode(file.read()).decode()}"
