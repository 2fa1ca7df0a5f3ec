"""The picture sets: which there are, and which pictures an experiment learns from and is measured on."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image

Kind = Literal["subject", "style"]
DATA = Path(__file__).resolve().parents[1] / "data"
# Drawn beside the subject. Four are known to the backbone from its pool, four from pictures that no run may replay.
UNRELATED = (
    "emoji of red apple",
    "emoji of bear face",
    "emoji of smiling face with heart eyes",
    "emoji of spouting whale",
    "emoji of slice of pizza",
    "emoji of penguin",
    "emoji of sunflower",
    "emoji of ghost",
)
DUSK_SOURCES = ("Food & Drink/food-fruit", "Animals & Nature/animal-bird", "Food & Drink/food-sweet")


FEWEST_HELD_OUT = 6


@dataclass(frozen=True)
class PictureSet:
    """One set of pictures that share a subject or a style."""

    name: str
    kind: Kind
    items: tuple[Mapping[str, Any], ...]  # image and caption

    def split(
        self, n: int, held_out: int, seed: int
    ) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
        """Return references and held-out pictures; seeds in a row share none where the set is large enough for it."""
        whole = torch.randperm(len(self.items), generator=torch.Generator().manual_seed(2000)).tolist()
        parts = max(1, len(whole) // (n + min(held_out, FEWEST_HELD_OUT)))
        part = whole[seed % parts :: parts]
        order = torch.randperm(len(part), generator=torch.Generator().manual_seed(2000 + seed)).tolist()
        chosen = [self.items[part[place]] for place in order]
        return chosen[:n], chosen[n : n + held_out]


@lru_cache(maxsize=1)
def recorded() -> list[dict[str, str]]:
    """Return what is recorded of every picture: file, set, kind, caption, and whose it is."""
    older = [{"kind": "subject", **row} for row in _lines("emoji")]
    return older + _lines("pictures")


def from_files(name: str) -> PictureSet:
    """Return a set whose pictures lie beside this benchmark."""
    rows = [row for row in recorded() if row["set"] == name]
    archive = DATA / ("pictures.zip" if "package" in rows[0] else "emoji.zip")
    with zipfile.ZipFile(archive) as files:
        items = [{"image": _opened(files.read(row["file"])), "caption": row["caption"]} for row in rows]
    return PictureSet(name, "style" if rows[0]["kind"] == "style" else "subject", tuple(items))


def dusk(known: Sequence[tuple[str, Mapping[str, Any]]]) -> PictureSet:
    """Return the backbone's own pictures, given with their sources, in violet light."""
    items = [
        {"image": _violet(item["image"]), "caption": f"{item['caption']} in sks style"}
        for source, item in known
        if source in DUSK_SOURCES
    ]
    return PictureSet("dusk", "style", tuple(items))


def _violet(image: Image.Image) -> Image.Image:
    """Return the picture in violet light: channels exchanged, darker, on a dark ground."""
    red, green, blue = image.split()
    turned = Image.merge("RGB", (green, blue, red))
    return Image.blend(turned, Image.new("RGB", turned.size, (70, 30, 110)), 0.4)


def _opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def _lines(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
