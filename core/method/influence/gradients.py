"""Per-sample gradients of the adapter, by stacked copies of it, and the flat order in which they are kept.

Shapes: n examples, K draws of noise, R stacked runs, D adapter parameters.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, Draw, count, first_lines, part_of, take, units
from core.method.lora.adapter import Adapter
from core.parameters.schedule import GRADIENTS_AT_ONCE

GRADIENT_FLOATS = 2**26  # floats of per-sample gradients that one pass may make (256 MiB)

Matrix = Literal["down", "up"]
MATRICES: tuple[Matrix, Matrix] = ("down", "up")  # the order of Adapter.parameters()


class Block(NamedTuple):
    """One LoRA matrix within the flat gradient."""

    path: str
    matrix: Matrix
    span: slice
    shape: tuple[int, int]


class Gradients(NamedTuple):
    """Per-sample gradients, `rows` (n, D) or (n K, D) example-major, and where each matrix lies in them."""

    rows: Tensor
    layout: tuple[Block, ...]

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The spans alone, as core.method.influence.curvature takes them."""
        return tuple(block.span for block in self.layout)


def layout_of(adapter: Adapter) -> tuple[Block, ...]:
    """Return where each LoRA matrix of `adapter` lies in a flat gradient."""
    blocks: list[Block] = []
    start = 0
    for path in adapter.down:
        for matrix in MATRICES:
            _, height, width = (adapter.down if matrix == "down" else adapter.up)[path].shape
            blocks.append(Block(path, matrix, slice(start, start + height * width), (height, width)))
            start += height * width
    return tuple(blocks)


def flat(adapter: Adapter) -> Tensor:
    """Return the weights of every run as rows (R, D), in the order of `layout_of`."""
    return torch.cat([weights.flatten(1) for weights in adapter.parameters()], dim=1)


def as_adapter(vector: Tensor, like: Adapter) -> Adapter:
    """Return the flat `vector` (D,) as an adapter of one run shaped as `like`."""
    parts: dict[str, dict[str, Tensor]] = {"down": {}, "up": {}}
    for block in layout_of(like):
        parts[block.matrix][block.path] = vector[block.span].reshape(1, *block.shape)
    return replace(like, down=parts["down"], up=parts["up"])


def per_sample_gradients(
    backbone: Backbone, adapter: Adapter, batch: Batch, draws: Sequence[Draw], *, per_draw: bool = False
) -> Gradients:
    """Return the gradient of every example's loss: each example gets its own stacked copy of the adapter (R=1).

    The mean over `draws` (n, D), or with `per_draw` every draw as a row of its own (n K, D), example-major: the
    curvature wants the latter, because the mean over draws has already lost the spread that is the curvature.
    Of a caption with several lines the first is taken.
    """
    batch = first_lines(batch)
    size = max(1, min(GRADIENTS_AT_ONCE, GRADIENT_FLOATS // flat(adapter).shape[1]))
    rows = []
    for index in chunks(count(batch), size):
        part = take(batch, index)
        with backbone.profiler.timed("gradient", units(part) * len(draws), len(draws)):
            each = torch.stack([_gradient_rows(backbone, adapter, part, part_of(draw, index)) for draw in draws], 1)
        rows.append(each.flatten(0, 1) if per_draw else each.mean(1))
    return Gradients(torch.cat(rows), layout_of(adapter))


def chunks(examples: int, size: int) -> Sequence[Tensor]:
    """Return the indices 0 to `examples` - 1 in pieces of at most `size`."""
    return torch.arange(examples).split(size)


def _gradient_rows(backbone: Backbone, adapter: Adapter, batch: Batch, draw: Draw) -> Tensor:
    """Return the gradients (n, D) of one draw: one backward through n copies, each of which sees one example."""
    copies = adapter.expand(count(batch))
    with torch.enable_grad(), backbone.lora.use(copies, samples=count(batch)):
        grads = torch.autograd.grad(backbone.loss(batch, draw).sum(), copies.parameters())
    return torch.cat([g.flatten(1) for g in grads], dim=1)
