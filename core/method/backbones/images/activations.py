"""What the frozen network itself makes of pictures: what they show, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor, nn

SEEN_AT_ONCE = 8
Look = Callable[[Sequence[Image.Image]], object]  # runs the network once over pictures


def means(middle: nn.Module, images: Sequence[Image.Image], look: Look) -> Tensor:
    """Return the mean activations of a middle block (n, f): what images show."""
    return torch.cat([part.mean(2) for part in _activations(middle, images, look)])


def means_and_spreads(shallow: nn.Module, images: Sequence[Image.Image], look: Look) -> Tensor:
    """Return mean and spread of a first block's channels (n, f): how images are drawn.

    Channel statistics of a shallow layer hold colours and strokes, and not where things are (adaptive instance
    normalisation, Huang and Belongie 2017).
    """
    parts = _activations(shallow, images, look)
    return torch.cat([torch.cat([part.mean(2), part.std(2)], dim=1) for part in parts])


def _activations(block: nn.Module, images: Sequence[Image.Image], look: Look) -> Iterator[Tensor]:
    """Yield what a block gives, (n, channels, places) on the CPU, of a few images at a time: many would fill memory."""
    for start in range(0, len(images), SEEN_AT_ONCE):
        yield _output_of(block, images[start : start + SEEN_AT_ONCE], look).float().flatten(2).cpu()


def _output_of(block: nn.Module, images: Sequence[Image.Image], look: Look) -> Tensor:
    """Run the network once and return what a block of it gave; the first of several tensors."""
    caught: list[Tensor] = []

    def catch(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        caught.append(output if isinstance(output, Tensor) else output[0])

    handle = block.register_forward_hook(catch)
    try:
        look(images)
    finally:
        handle.remove()
    return caught[0]
