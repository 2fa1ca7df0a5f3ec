"""What the frozen network itself makes of pictures: what they show, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

SEEN_AT_ONCE = 8
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
