"""Colours of a picture as a person names them, and where they are: masks (h, w) of a picture at the backbone's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

SIDE = 32  # pixels at which pictures are judged: that of the backbone
# name -> hue from and to, least saturation, least value, all of 255; a hue range may pass 255 and go on from 0
HUES: Mapping[str, tuple[int, int, int, int]] = {
    "violet": (178, 215, 90, 70),
    "green": (76, 112, 90, 60),
    "teal": (117, 142, 90, 60),
    "red": (245, 266, 140, 110),
    "orange": (10, 30, 140, 150),
}
BLACK = 90  # the brightest channel of a pixel that passes for black
LIGHT = 165  # the darkest channel of a pixel that passes for white
EDGE = 0.05  # share of a colour's pixels on each side that its box may leave out, so that specks do not count


class Pixels:
    """A picture at the size at which pictures are judged."""

    def __init__(self, picture: Image.Image) -> None:
        small = picture.convert("RGB")
        if small.size != (SIDE, SIDE):
            small = small.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        self.rgb = np.asarray(small, np.float32)
        self.hsv = np.asarray(small.convert("HSV"), np.float32)

    def of(self, colour: str) -> np.ndarray:
        """Return the mask of a colour: one of HUES, black or light."""
        if colour == "black":
            return self.rgb.max(2) < BLACK
        if colour == "light":
            return self.rgb.min(2) > LIGHT
        first, last, saturation, value = HUES[colour]
        hue = self.hsv[:, :, 0]
        inside = ((hue >= first) & (hue <= last)) | (hue + 255 <= last)
        return inside & (self.hsv[:, :, 1] >= saturation) & (self.hsv[:, :, 2] >= value)

    def marks(self) -> np.ndarray:
        """Return the light pixels that something encloses: those from which no light way leads to the border."""
        light = self.of("light")
        return light & ~joined_to_border(light)


def joined_to_border(mask: np.ndarray) -> np.ndarray:
    """Return the part of a mask that reaches the picture's border by steps to the four sides."""
    reached = np.zeros_like(mask)
    reached[0], reached[-1], reached[:, 0], reached[:, -1] = mask[0], mask[-1], mask[:, 0], mask[:, -1]
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= mask
        if (grown == reached).all():
            return reached
        reached = grown


def box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a mask in pixels; the whole picture where it is empty."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.0, 0.0, float(mask.shape[1]), float(mask.shape[0])
    ends = [float(np.quantile(part, share)) for part in (columns, rows) for share in (EDGE, 1 - EDGE)]
    return ends[0], ends[2], ends[1] + 1, ends[3] + 1


def within(mask: np.ndarray, place: Sequence[float], around: Sequence[float]) -> int:
    """Count the mask's pixels at a place (left, top, right, bottom) given in widths and heights of the box around."""
    left, top, right, bottom = around
    wide, high = right - left, bottom - top
    rows, columns = np.nonzero(mask)
    across, down = (columns + 0.5 - left) / wide, (rows + 0.5 - top) / high
    return int(((across >= place[0]) & (across < place[2]) & (down >= place[1]) & (down < place[3])).sum())
