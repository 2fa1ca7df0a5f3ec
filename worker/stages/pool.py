"""Candidate pools on disk: the backbone's own data, read as items and encoded once for each backbone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from core.backbones.record import BackboneRecord
from core.disk import replacing
from core.errors import JobFailure

if TYPE_CHECKING:
    from torch import Tensor

    from core.method.backbones.backbone import Backbone

THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 96, 80
SMALL_PNG = 4_000  # bytes of a picture that is its own thumbnail
CONTENT = ("caption", "text", "messages", "prompt", "completion")


@dataclass(frozen=True)
class Candidate:
    """One example of the backbone's data; `item` is what Backbone.encode takes, `png` the picture, if any."""

    id: str
    source: str
    licence: str
    item: Mapping[str, Any]
    png: bytes | None = None

    @property
    def words(self) -> str:
        """What a person reads of it: caption or text."""
        if self.item.get("messages"):
            return "\n".join(f"{message['role']}: {message['content']}" for message in self.item["messages"])
        parts = [self.item.get("caption"), self.item.get("text"), self.item.get("prompt"), self.item.get("completion")]
        return "\n".join(str(part) for part in parts if part)

    def thumbnail(self) -> str | None:
        """Return the picture as a data URI of a few thousand bytes, as it is where it is that small; None of a text."""
        if self.png is None:
            return None
        if len(self.png) <= SMALL_PNG and max(self.item["image"].size) <= THUMBNAIL_SIDE:
            return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"
        small, buffer = self.item["image"].copy(), io.BytesIO()
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclass(frozen=True)
class Pool:
    """What may be replayed, and what is kept out of the replay so that forgetting shows on it."""

    candidates: tuple[Candidate, ...]
    probe: tuple[Candidate, ...]
    sha256: str


def load(record: BackboneRecord) -> Pool | None:
    """Read the pool of a backbone; None where it has none. Raises JobFailure where its files are broken."""
    if record.pool is None:
        return None
    index = record.pool if record.pool.is_file() else record.pool / "index.jsonl"
    try:
        content = index.read_bytes()
        rows = [json.loads(line) for line in content.split(b"\n") if line.strip()]
        pictures = _pictures(index.parent / "images.zip", rows)
        parts = {
            split: tuple(candidate(row, pictures) for row in rows if row["split"] == split)
            for split in ("candidate", "probe")
        }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise JobFailure(
            f"The candidate pool of {record.id} can't be read; the operator has to build it again.",
            code="backbone_unavailable",
        ) from error
    pictures_wanted = record.kind == "images"
    if any((candidate.png is not None) != pictures_wanted for part in parts.values() for candidate in part):
        raise JobFailure(
            f"{record.id} learns from {record.kind}, and its candidate pool holds something else; the operator has to "
            "register a pool of the same kind.",
            code="backbone_unavailable",
        )
    return Pool(parts["candidate"], parts["probe"], hashlib.sha256(content).hexdigest())


def encode(backbone: Backbone, items: Sequence[Candidate], file: Path) -> dict[str, Tensor]:
    """Return the items' encoding, from `file` where it is there, and written there otherwise."""
    from safetensors.torch import load_file, save_file

    if file.is_file():
        return load_file(file)
    batch = backbone.encode([candidate.item for candidate in items])
    with replacing(file) as draft:
        save_file({name: tensor.contiguous() for name, tensor in batch.items()}, draft)
    return batch


def cache_file(folder: Path, record: BackboneRecord, pool: Pool, split: str, detail: str) -> Path:
    """Where an encoding is kept: another backbone, pool or resolution is another file."""
    key = hashlib.sha256(f"{record.revision} {pool.sha256} {detail}".encode()).hexdigest()[:16]
    return folder / f"{record.id}-{split}-{key}.safetensors"


def candidate(row: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Candidate:
    """Return the example that a row of an index describes, with its picture where it has one."""
    item: dict[str, Any] = {name: row[name] for name in CONTENT if row.get(name) is not None}
    png = pictures.get(row.get("file", ""))
    if png is not None:
        item["image"] = Image.open(io.BytesIO(png)).convert("RGB")
    return Candidate(row["id"], row.get("source", ""), row.get("licence", ""), item, png)


def _pictures(archive: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    wanted = {row["file"] for row in rows if row.get("file")}
    if not wanted:
        return {}
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in wanted}
