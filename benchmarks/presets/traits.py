"""What a person looks for in a picture of each set, as numbers: parts of a subject, colours and strokes of a style.

What is enough is not set by hand: a share of the least that the references themselves have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.presets.colours import Pixels, box, within
from benchmarks.presets.conversions import NAVY, YELLOW

Place = tuple[float, float, float, float]  # left, top, right, bottom, in boxes of the body
ENOUGH = 0.5  # share of the least that any reference has, for a part of a subject
LEAST_BODY = 30  # pixels of the body's colour, below which nothing has a place on it
LEFT_EYE, RIGHT_EYE, MOUTH = (0.05, 0.05, 0.5, 0.55), (0.5, 0.05, 0.95, 0.55), (0.2, 0.4, 0.8, 0.9)
TINT = 70.0  # of 255, how far from the way between its two colours a pixel of a duotone may lie
GREY = 45.0  # of 255, how far the channels of a colourless pixel may lie apart
LUMINANCE = np.array((0.299, 0.587, 0.114), np.float32)  # of red, green and blue, as in JPEG
FRAME = 2  # pixels along the border, in which a style's ground is looked for


@dataclass(frozen=True)
class Trait:
    """Something that a picture has more or less of; a picture without a needed one is not accepted."""

    name: str
    measure: Callable[[Pixels], float]
    enough: float  # share of the least that the references have
    needed: bool = True


def subject_traits(body: str, accent: str, name: str, place: Place) -> tuple[Trait, ...]:
    """Return a subject's parts: its body by colour, what it wears by colour and place, two eyes and a mouth."""

    def part(mask: Callable[[Pixels], np.ndarray], where: Place) -> Callable[[Pixels], float]:
        def measured(pixels: Pixels) -> float:
            coloured = pixels.of(body)
            return float(within(mask(pixels), where, box(coloured))) if coloured.sum() >= LEAST_BODY else 0.0

        return measured

    return (
        Trait("body", lambda pixels: float(pixels.of(body).sum()), ENOUGH),
        Trait(name, part(lambda pixels: pixels.of(accent), place), ENOUGH),
        Trait("left eye", part(Pixels.marks, LEFT_EYE), ENOUGH),
        Trait("right eye", part(Pixels.marks, RIGHT_EYE), ENOUGH),
        Trait("mouth", part(Pixels.marks, MOUTH), ENOUGH, needed=False),
    )


def _tinted(pixels: Pixels) -> np.ndarray:
    """Return how far along the way from navy to yellow every pixel lies, nan where it lies off that way."""
    low, way = np.array(NAVY, np.float32), np.array(YELLOW, np.float32) - np.array(NAVY, np.float32)
    along = ((pixels.rgb - low) @ way / (way @ way)).clip(0, 1)
    off = np.linalg.norm(pixels.rgb - (low + along[:, :, None] * way), axis=2)
    return np.where(off <= TINT, along, np.nan)


def _in_palette(pixels: Pixels) -> float:
    return float(np.isfinite(_tinted(pixels)).mean())


def _navy(pixels: Pixels) -> float:
    return float((_tinted(pixels) < 0.5).mean())


def _yellow(pixels: Pixels) -> float:
    return float((_tinted(pixels) > 0.7).mean())


def _colourless(pixels: Pixels) -> float:
    return float((pixels.rgb.max(2) - pixels.rgb.min(2) < GREY).mean())


def _paper(pixels: Pixels) -> float:
    return float((pixels.rgb.min(2) > 180).mean())


def _ink(pixels: Pixels) -> float:
    return float((pixels.rgb @ LUMINANCE < 140).mean())


def _night(pixels: Pixels) -> float:
    """The share of the frame that is dark and blue."""
    red, green, blue = np.moveaxis(pixels.rgb, 2, 0)
    dark = (pixels.rgb.max(2) < 140) & (blue > red + 10) & (blue > green + 10)
    inner = np.zeros_like(dark)
    inner[FRAME:-FRAME, FRAME:-FRAME] = True
    return float(dark[~inner].mean())


def _warm(pixels: Pixels) -> float:
    red, green, blue = np.moveaxis(pixels.rgb, 2, 0)
    return float(((red > 140) & (red > blue + 60) & (red >= green)).mean())


TRAITS: Mapping[str, Sequence[Trait]] = {
    "ghost": subject_traits("violet", "black", "hat", (0.0, -0.8, 1.0, 0.2)),
    "robot": subject_traits("green", "red", "antenna", (0.2, -0.8, 0.8, 0.1)),
    "owl": subject_traits("teal", "orange", "scarf", (-0.1, 0.4, 1.1, 1.1)),
    "duotone": (Trait("palette", _in_palette, 0.7), Trait("navy", _navy, 0.3), Trait("yellow", _yellow, 0.45)),
    "lines": (Trait("colourless", _colourless, 0.75), Trait("paper", _paper, 0.8), Trait("ink", _ink, 0.5)),
    "dusk": (Trait("night", _night, 0.5), Trait("warm light", _warm, 0.6)),
}
