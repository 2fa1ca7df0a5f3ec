"""Strips of what an arm drew at a step, kept beside the results, and one sheet of them for a person to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from core.disk import write_whole

SHOWN, GAP, MARGIN = 64, 4, 220  # pixels of a picture on the sheet, between two, and for the words on the left


class Strips:
    """Write strips of one experiment; without a folder, none."""

    def __init__(self, work: Path | None, key: str) -> None:
        self.folder = work / "pictures" / key.replace(" ", "_") if work else None

    def keep(self, name: str, step: int, pictures: Sequence[Image.Image]) -> None:
        """Write one strip of pictures."""
        if self.folder is None:
            return
        side = pictures[0].width
        strip = Image.new("RGB", (side * len(pictures), side), "white")
        for place, picture in enumerate(pictures):
            strip.paste(picture, (place * side, 0))
        buffer = io.BytesIO()
        strip.save(buffer, "PNG", optimize=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / f"{name}@{step}.png", buffer.getvalue())


def kept(folder: Path) -> dict[tuple[str, int], Path]:
    """Return every strip that was kept, by arm and step."""
    found = {}
    for file in sorted(folder.glob("*@*.png")):
        name, step = file.stem.rsplit("@", 1)
        found[name, int(step)] = file
    return found


def compose(rows: Sequence[tuple[str, Path]]) -> Image.Image:
    """Return a sheet with a row of words and pictures for every strip."""
    strips = [(words, Image.open(file)) for words, file in rows]
    widest = max(strip.width // strip.height for _, strip in strips)
    sheet = Image.new("RGB", (MARGIN + widest * (SHOWN + GAP), len(strips) * (SHOWN + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for line, (words, strip) in enumerate(strips):
        top = line * (SHOWN + GAP)
        pen.text((4, top + SHOWN // 2 - 6), words, fill="black")
        for place in range(strip.width // strip.height):
            picture = strip.crop((place * strip.height, 0, (place + 1) * strip.height, strip.height))
            large = picture.resize((SHOWN, SHOWN), Image.Resampling.BICUBIC)
            sheet.paste(large, (MARGIN + place * (SHOWN + GAP), top))
    return sheet
