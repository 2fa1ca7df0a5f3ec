"""Three ways of drawing, made by code from pictures of the backbone's pool: the same content, another look."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.presets.colours import joined_to_border
from core.disk import ROOT

POOL = ROOT / "demo" / "emoji_ldm" / "pool"
PREFIX = "emoji of "
SIDE = 128  # pixels of a converted picture
NAVY, YELLOW = (22, 28, 112), (250, 214, 60)  # the two ends of duotone
NIGHT, EMBER, GLOW = (18, 22, 70), (150, 60, 50), (255, 190, 96)  # the ground of dusk, its darkest and brightest tone
INK = 24  # grey value of a drawn line
NEAR, WIDE = 1.0, 4.0  # pixels, the two blurs of which strokes are the difference
STROKE, SOFT = 9.0, 10.0  # how much darker than around it a stroke begins to be, of 255, and when it is all ink


def pool_pictures() -> dict[str, Image.Image]:
    """Return the pool's pictures by content name, as they are."""
    rows = [json.loads(line) for line in (POOL / "index.jsonl").read_text().splitlines()]
    with zipfile.ZipFile(POOL / "images.zip") as archive:
        return {
            row["caption"].removeprefix(PREFIX): Image.open(io.BytesIO(archive.read(row["file"]))).convert("RGB")
            for row in rows
        }


def convert(style: str, picture: Image.Image) -> Image.Image:
    """Return the picture in the style, at SIDE pixels."""
    return CONVERSIONS[style](picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _duotone(picture: Image.Image) -> Image.Image:
    """Luminance as a way from navy to yellow, with more contrast, so that things stand out from the ground."""
    contrast = [round(255 * min(1.0, max(0.0, value / 255 - 0.25) / 0.7) ** 1.5) for value in range(256)]
    return _toned(picture.convert("L").point(contrast), (NAVY, YELLOW))


def _lines(picture: Image.Image) -> Image.Image:
    """Dark strokes on white where a pixel is darker than what lies around it; surfaces are left out.

    The difference of two blurs, as in Winnemoeller's XDoG, of the luminance and of the darkest channel.
    """
    near, wide = (_tones(picture.filter(ImageFilter.GaussianBlur(width))) for width in (NEAR, WIDE))
    darkest = (wide - near).max(2)
    stroke = np.clip((darkest - STROKE) / SOFT, 0, 1)[:, :, None]
    return Image.fromarray((255 - stroke * (255 - INK)).round().astype(np.uint8).repeat(3, axis=2))


def _tones(picture: Image.Image) -> np.ndarray:
    """Return luminance and darkest channel, (h, w, 2)."""
    return np.stack([np.asarray(picture.convert("L"), np.float32), np.asarray(picture, np.float32).min(2)], axis=2)


def _dusk(picture: Image.Image) -> Image.Image:
    """The ground dark blue, the thing itself in ember to glow, as bright as it was."""
    pixels = np.asarray(picture, np.float32)
    ground = _background(pixels)[:, :, None]
    warm = np.asarray(_toned(picture, (EMBER, GLOW)), np.float32)
    mixed = ground * np.array(NIGHT, np.float32) + (1 - ground) * warm
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


def _toned(picture: Image.Image, ends: tuple[tuple[int, int, int], tuple[int, int, int]]) -> Image.Image:
    share = np.asarray(picture.convert("L"), np.float32)[:, :, None] / 255
    low, high = (np.array(end, np.float32) for end in ends)
    return Image.fromarray((low + (high - low) * share).round().astype(np.uint8))


def _background(pixels: np.ndarray) -> np.ndarray:
    """Return, for every pixel, the share (0 to 1) to which it is white ground that reaches the picture's border."""
    reached = joined_to_border(pixels.min(2) > 225)
    smooth = Image.fromarray(reached.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(1.0))
    return np.asarray(smooth, np.float32) / 255


CONVERSIONS: Mapping[str, Callable[[Image.Image], Image.Image]] = {"duotone": _duotone, "lines": _lines, "dusk": _dusk}
