"""The part of a picture that is learned from: a window of some shape, scaled to it, and the weights of a mask in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from core.method.backbones.images.conditioners.conditioner import Frame

Size = tuple[int, int]  # width and height, in pixels


@dataclass(frozen=True)
class View:
    """The largest window of the shape `size` in a picture, in the middle or where most of its mask is."""

    image: Image.Image
    size: Size
    corner: tuple[int, int]  # left and top of the window, in pixels of the picture
    window: Size
    mask: Image.Image | None = None  # greys in the picture's size

    @classmethod
    def of(cls, item: Mapping[str, Any], usual: Size) -> View:
        """Return the view of an item, in the size that it asks for or else the usual one."""
        image, mask, size = item["image"], item.get("mask"), item.get("size", usual)
        if mask is not None and mask.size != image.size:
            mask = mask.resize(image.size, Image.Resampling.BILINEAR)
        window = _largest(image.size, size)
        across = (image.width - window[0]) // 2 if mask is None else _most(mask, window[0], dim=0)
        down = (image.height - window[1]) // 2 if mask is None else _most(mask, window[1], dim=1)
        return cls(image, size, (across, down), window, mask)

    @property
    def frame(self) -> Frame:
        """How the picture came to be what is seen."""
        (left, top), (width, height) = self.corner, self.size
        cut = top * height // self.window[1], left * width // self.window[0]
        return Frame((self.image.height, self.image.width), cut, (height, width))

    @property
    def seen(self) -> Image.Image:
        """What is seen, in the size that it is seen in."""
        return self.image.convert("RGB").crop(self._box).resize(self.size, Image.Resampling.LANCZOS)

    def pixels(self) -> Tensor:
        """Return what is seen, (3, h, w) in -1..1."""
        pixels = torch.frombuffer(bytearray(self.seen.tobytes()), dtype=torch.uint8)
        return pixels.reshape(self.size[1], self.size[0], 3).permute(2, 0, 1).float() / 127.5 - 1

    def weights(self, rows: int, columns: int) -> Tensor:
        """Return what each place of a latent counts, (1, rows, columns) in 0..1; 1 without a mask."""
        if self.mask is None:
            return torch.ones(1, rows, columns)
        return torch.nn.functional.adaptive_avg_pool2d(_levels(self.mask.crop(self._box))[None], (rows, columns))

    @property
    def _box(self) -> tuple[int, int, int, int]:
        left, top = self.corner
        return left, top, left + self.window[0], top + self.window[1]


def weighted_mean(error: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of each sample's error (n, c, h, w) over the places of its latent, as its mask weighs them (n,).

    The weights are divided by their sum: a small mask learns as fast as a large one. Our own rule; other trainers
    (sd-scripts' masked loss) divide by all places.
    """
    of_places = error.mean(1, keepdim=True)
    return (of_places * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)


def _largest(picture: Size, shape: Size) -> Size:
    """Return the sides of the largest window of a shape in a picture."""
    across, down = picture[0] * shape[1], picture[1] * shape[0]
    if across > down:
        return max(1, down // shape[1]), picture[1]
    return picture[0], max(1, across // shape[0])


def _most(mask: Image.Image, length: int, dim: int) -> int:
    """Return where a window of a length begins that holds most of a mask along an axis: 0 across, 1 down.

    Of several that hold as much, the one nearest to the middle.
    """
    along = torch.cat([torch.zeros(1), _levels(mask).sum(dim)]).double().cumsum(0)
    held = along[length:] - along[: len(along) - length]
    best = (held >= held.max() * (1 - 1e-9)).nonzero().flatten()
    middle = (len(along) - 1 - length) // 2
    return int(best[(best - middle).abs().argmin()])


def _levels(mask: Image.Image) -> Tensor:
    """Return greys as numbers, (h, w) in 0..1."""
    levels = torch.frombuffer(bytearray(mask.convert("L").tobytes()), dtype=torch.uint8)
    return levels.reshape(mask.height, mask.width).float() / 255
