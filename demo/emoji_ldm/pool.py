"""Read the emoji pool and compose the captions the backbone is trained on."""

import io
import json
import random
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

SHORT_NAME_RATE = 0.4
SUBCATEGORY_RATE = 0.5
# Empty captions teach the unconditional model that classifier-free guidance needs.
EMPTY_RATE = 0.1


@dataclass(frozen=True)
class PoolItem:
    """Describe one pool image."""

    slug: str
    caption: str
    source: str
    split: str
    file: str

    @property
    def subcategory(self) -> str:
        """Give the last part of the source as plain words."""
        return self.source.rsplit("/", 1)[1].replace("-", " ")

    @property
    def short_caption(self) -> str:
        """Give the caption with the everyday name instead of the official one."""
        return "emoji of " + " ".join(self.slug.replace("-", " ").replace("_", " ").split())


def read_items(folder: Path) -> list[PoolItem]:
    """Read the pool index in file order."""
    lines = (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [PoolItem(r["id"], r["caption"], r["source"], r["split"], r["file"]) for r in rows]


def read_images(folder: Path, items: list[PoolItem]) -> torch.Tensor:
    """Read the pool images as float32 (N, 3, h, w) in [-1, 1]."""
    with zipfile.ZipFile(folder / "images.zip") as archive:
        opened = [Image.open(io.BytesIO(archive.read(item.file))) for item in items]
        pixels = np.stack([np.asarray(image.convert("RGB")) for image in opened])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def draw_caption(item: PoolItem, draw: random.Random) -> str:
    """Draw one of the captions of an item: long or short name, with or without subcategory."""
    if draw.random() < EMPTY_RATE:
        return ""
    caption = item.short_caption if draw.random() < SHORT_NAME_RATE else item.caption
    return f"{caption} , {item.subcategory}" if draw.random() < SUBCATEGORY_RATE else caption


def every_caption(items: list[PoolItem]) -> list[str]:
    """List all captions that training can draw, without the empty one."""
    names = [(name, item.subcategory) for item in items for name in (item.caption, item.short_caption)]
    return [name for name, _ in names] + [f"{name} , {subcategory}" for name, subcategory in names]
