"""Per-sample gradients of the adapter, by stacked copies of it, and the flat order in which they are kept.

Shapes: n examples, K draws of noise, R stacked runs, D adapter parameters.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, Draw, count, first_lines, part_of, take, units
from core.method.backbones.shapes import extents, pieces
from core.method.lora.adapter import Adapter
from core.method.transfers import to_device, wait_for
from core.parameters.schedule import GRADIENTS_AT_ONCE

GRADIENT_FLOATS = 2**26  # floats of per-sample gradients that one pass may make (256 MiB)
ROW_FLOATS = 2**28  # floats of gradients that are held at once (1 GiB)

Result = TypeVar("Result")
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
    backbone: Backbone,
    adapter: Adapter,
    batch: Batch,
    draws: Sequence[Draw],
    *,
    per_draw: bool = False,
    modules: Collection[str] | None = None,
) -> Gradients:
    """Return the gradient of every example's loss: each example gets its own stacked copy of the adapter (R=1).

    The mean over `draws` (n, D), or with `per_draw` every draw as a row of its own (n K, D), example-major: the
    curvature wants the latter, because the mean over draws has already lost the spread that is the curvature.
    With `modules` only their matrices are differentiated, D is theirs alone, and only they are copied; the rest of the
    adapter computes as always. Of a caption with several lines the first is taken.
    """
    batch, part = first_lines(batch), restricted(adapter, modules)
    layout = layout_of(part)
    places = (count(batch), len(draws)) if per_draw else (count(batch),)
    rows = flat(part).new_empty(*places, layout[-1].span.stop)

    def compute(index: Tensor) -> None:
        with _timed(backbone, some := take(batch, index), draws):
            each = (flattened(_gradients(backbone, adapter, part, some, part_of(draw, index))) for draw in draws)
            place = to_device(index, rows.device)
            if per_draw:
                for number, found in enumerate(each):
                    rows[place, number] = found
            else:
                rows[place] = _mean(each, len(draws) * len(index) * rows.shape[-1])

    for _ in _each(backbone, adapter, part, batch, draws, pieces(batch, examples_at_once(part)), compute):
        pass  # every piece has its place in the rows
    return Gradients(rows.flatten(0, -2), layout)


def each_gradient(
    backbone: Backbone, adapter: Adapter, batch: Batch, draws: Sequence[Draw]
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield a few examples' indices and their gradients of one draw, matrix by matrix (n, a, b), and keep nothing."""
    batch = first_lines(batch)
    for index in pieces(batch, examples_at_once(adapter)):
        with _timed(backbone, take(batch, index), draws):
            for draw in draws:

                def compute(some: Tensor, draw: Draw = draw) -> list[Tensor]:
                    return _gradients(backbone, adapter, adapter, take(batch, some), part_of(draw, some))

                yield from _each(backbone, adapter, adapter, batch, [draw], [index], compute)


def restricted(adapter: Adapter, modules: Collection[str] | None) -> Adapter:
    """Return the adapter of some of its modules alone, in its own order; None stands for all of them."""
    if modules is None:
        return adapter
    paths = [path for path in adapter.down if path in modules]
    return replace(
        adapter, down={path: adapter.down[path] for path in paths}, up={path: adapter.up[path] for path in paths}
    )


def module_groups(adapter: Adapter, rows: int, floats: int = ROW_FLOATS) -> list[tuple[str, ...]]:
    """Pack the modules, in their order, into groups of which `rows` gradients are at most `floats` numbers each.

    A module whose gradients are more than that alone is a group of its own.
    """
    groups: list[list[str]] = []
    room = 0
    for path in adapter.down:
        size = rows * (adapter.down[path][0].numel() + adapter.up[path][0].numel())
        if not groups or size > room:
            groups.append([])
            room = floats
        groups[-1].append(path)
        room -= size
    return [tuple(group) for group in groups]


def examples_at_once(adapter: Adapter) -> int:
    """Return how many examples get a copy of the adapter, and a gradient, in one pass."""
    return max(1, min(GRADIENTS_AT_ONCE, GRADIENT_FLOATS // layout_of(adapter)[-1].span.stop))


def chunks(examples: int, size: int) -> Sequence[Tensor]:
    """Return the indices 0 to `examples` - 1 in pieces of at most `size`."""
    return torch.arange(examples).split(size)


def flattened(gradients: Sequence[Tensor]) -> Tensor:
    """Return gradients matrix by matrix (n, a, b) as rows (n, D)."""
    return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


def _mean(rows: Iterator[Tensor], floats: int) -> Tensor:
    """Return the mean over draws; all at once where these are few `floats`, since that is more exact."""
    if floats <= ROW_FLOATS:
        return torch.stack(list(rows), 1).mean(1)
    total = next(rows)
    amount = 1
    for amount, found in enumerate(rows, 2):  # noqa: B007
        total += found
    return total / amount


@contextmanager
def _timed(backbone: Backbone, batch: Batch, draws: Sequence[Draw]) -> Iterator[None]:
    """Count and time a piece; the only wait for its gradients is that at its end."""
    with backbone.profiler.timed("gradient", units(batch) * len(draws), len(draws)):
        yield
        wait_for(backbone.device)


def _each(
    backbone: Backbone,
    adapter: Adapter,
    part: Adapter,
    batch: Batch,
    draws: Sequence[Draw],
    split: Sequence[Tensor],
    compute: Callable[[Tensor], Result],
) -> Iterator[tuple[Tensor, Result]]:
    """Compute the pieces of `split`, as many examples at once as have room for a gradient each."""

    def one(index: Tensor) -> Tensor:
        return flattened(_gradients(backbone, adapter, part, take(batch, index), part_of(draws[0], index)))

    key = layout_of(part)[-1].span.stop
    return backbone.memory.each("gradient", split, compute, lambda: extents(batch), key=key, one=one)


def _gradients(backbone: Backbone, adapter: Adapter, part: Adapter, batch: Batch, draw: Draw) -> list[Tensor]:
    """Return the gradients of one draw by the matrices of `part`: one backward through n copies of these.

    Each copy sees one example. What `part` leaves out of the adapter is shared by all of them.
    """
    copies = part.expand(count(batch))
    shared = {name: matrix.detach() for name, matrix in adapter.down.items()}
    moved = {name: matrix.detach() for name, matrix in adapter.up.items()}
    mixed = replace(adapter, down=shared | copies.down, up=moved | copies.up)
    with torch.enable_grad(), backbone.lora.use(mixed, samples=count(batch)):
        return list(torch.autograd.grad(backbone.loss(batch, draw).sum(), copies.parameters()))
