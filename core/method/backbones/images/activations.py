"""What the frozen network itself makes of pictures: what they show, and how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image, ImageChops
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize

from core.method.backbones.images.views import Size, View

SEEN_AT_ONCE = 8
MOST_PLACES = 16  # of a side, of which details are kept apart
Look = Callable[[Sequence[Image.Image]], object]  # runs the network once over pictures
Read = Callable[[Any], Tensor]  # what a block gave, as (n, channels, places)


def means(middle: nn.Module, read: Read, images: Sequence[Image.Image], look: Look) -> Tensor:
    """Return the mean activations of a middle block (n, f): what images show."""
    return torch.cat([part.mean(2) for part in _activations(middle, read, images, look)])


def means_and_spreads(shallow: nn.Module, read: Read, images: Sequence[Image.Image], look: Look) -> Tensor:
    """Return mean and spread of a first block's channels (n, f): how images are drawn.

    Channel statistics of a shallow layer hold colours and strokes, and not where things are (adaptive instance
    normalisation, Huang and Belongie 2017).
    """
    parts = _activations(shallow, read, images, look)
    return torch.cat([torch.cat([part.mean(2), part.std(2)], dim=1) for part in parts])


def places(
    middle: nn.Module, read: Read, images: Sequence[Image.Image], look: Look, size: Size, shape: tuple[int, int]
) -> Tensor:
    """Return a middle block's activations of each place and between places, (n, 4 places, f) of unit length.

    That is which details images show. Half a place further a detail gives other activations, so it is looked at there
    too. Images are looked at in a `size` in pixels; `shape` are the rows and columns of its latents, of which a
    transformer may take 2 x 2 as one.
    """
    images = [View.of({"image": image}, size).seen for image in images]
    seen = [_grid(middle, read, images, look, shape)]
    rows, columns = seen[0].shape[1:3]
    for right, down in ((1, 0), (0, 1), (1, 1)):
        moved = [_moved(image, right / (2 * columns), down / (2 * rows)) for image in images]
        seen.append(_grid(middle, read, moved, look, shape))
    return normalize(torch.cat([grid.flatten(1, 2) for grid in seen], dim=1), dim=2)


def _grid(middle: nn.Module, read: Read, images: Sequence[Image.Image], look: Look, shape: tuple[int, int]) -> Tensor:
    """Return activations (n, rows, columns, f); beyond MOST_PLACES of a side neighbours are one place by their mean."""
    parts = []
    for part in _activations(middle, read, images, look):
        rows = shape[0] // math.isqrt(math.prod(shape) // part.shape[2])
        grid = part.unflatten(2, (rows, -1))
        fewer = adaptive_avg_pool2d(grid, (min(rows, MOST_PLACES), min(grid.shape[3], MOST_PLACES)))
        parts.append(fewer.permute(0, 2, 3, 1))
    return torch.cat(parts)


def _moved(image: Image.Image, right: float, down: float) -> Image.Image:
    """Move an image by shares of its sides; what leaves it comes back at the other side."""
    return ImageChops.offset(image, round(right * image.width), round(down * image.height))


def _activations(block: nn.Module, read: Read, images: Sequence[Image.Image], look: Look) -> Iterator[Tensor]:
    """Yield what a block gives, (n, channels, places) on the CPU, of a few images at a time: many would fill memory."""
    for start in range(0, len(images), SEEN_AT_ONCE):
        yield read(_given(block, images[start : start + SEEN_AT_ONCE], look)).float().cpu()


def _given(block: nn.Module, images: Sequence[Image.Image], look: Look) -> Any:
    """Run the network once and return what a block of it gave."""
    caught: list[Any] = []

    def catch(_module: nn.Module, _inputs: object, output: Any) -> None:
        caught.append(output)

    handle = block.register_forward_hook(catch)
    try:
        look(images)
    finally:
        handle.remove()
    return caught[0]
