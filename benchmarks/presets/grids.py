"""What people look at: a strip of pictures or a page of answers for every step, and all strips of a set as one grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

CELL, GAP, MARGIN, LINE = 48, 8, 190, 50  # pixels: a picture, between the two sides, the row's name, a row
PAPER, INK, CHOSEN = (255, 255, 255), (20, 20, 20), (214, 30, 40)


@dataclass(frozen=True)
class Strip:
    """One row of a grid: what a step drew or said."""

    name: str
    file: Path
    published: bool = False


def write_strip(file: Path, shown: Sequence[Any], asked: int) -> None:
    """Write what a step made: pictures as one PNG, those asked for first, or answers as a JSON list."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(shown[0], Image.Image):
        file.with_suffix(".json").write_text(json.dumps(list(shown), ensure_ascii=False, indent=1) + "\n")
        return
    strip = Image.new("RGB", (len(shown) * CELL + GAP, CELL), PAPER)
    for place, picture in enumerate(shown):
        left = place * CELL + (GAP if place >= asked else 0)
        strip.paste(picture.resize((CELL - 2, CELL - 2), Image.Resampling.NEAREST), (left, 1))
    strip.save(file.with_suffix(".png"))


def write_grid(target: Path, strips: Sequence[Strip]) -> Path | None:
    """Write the strips under each other, the published ones marked: a PNG of pictures, a text file of answers."""
    pictured = [strip for strip in strips if strip.file.with_suffix(".png").is_file()]
    if pictured:
        return _pictures(target.with_suffix(".png"), pictured)
    spoken = [strip for strip in strips if strip.file.with_suffix(".json").is_file()]
    if not spoken:
        return None
    return _answers(target.with_suffix(".txt"), spoken)


def _pictures(target: Path, strips: Sequence[Strip]) -> Path:
    rows = [Image.open(strip.file.with_suffix(".png")) for strip in strips]
    grid = Image.new("RGB", (MARGIN + max(row.width for row in rows), LINE * len(rows)), PAPER)
    pen = ImageDraw.Draw(grid)
    for place, (strip, row) in enumerate(zip(strips, rows, strict=True)):
        top = place * LINE
        grid.paste(row, (MARGIN, top + 1))
        pen.text((6, top + LINE // 2 - 6), strip.name, fill=CHOSEN if strip.published else INK)
        if strip.published:
            pen.rectangle((MARGIN - 2, top, grid.width - 1, top + LINE - 1), outline=CHOSEN)
    grid.save(target)
    return target


def _answers(target: Path, strips: Sequence[Strip]) -> Path:
    pages = []
    for strip in strips:
        said = json.loads(strip.file.with_suffix(".json").read_text())
        title = f"== {strip.name}{' (published)' if strip.published else ''}"
        pages.append("\n".join([title, *(f"- {text.replace(chr(10), ' | ')}" for text in said)]))
    target.write_text("\n\n".join(pages) + "\n")
    return target
