"""Batches of pictures of several shapes: all in one tensor, each in its upper left corner, computed shape by shape.

Shapes: n examples, latents (n, c, h, w) with the h and w of the largest; `size` (n, 2) says what of each is filled.
A batch without `size` has one shape, that of its tensors; texts have none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Batch = dict[str, Tensor]
PLACED = ("mean", "std", "mask")  # fields with rows and columns


def sizes_of(batch: Batch) -> dict[str, Tensor]:
    """Return what noise for these examples is drawn by beside their number: their sizes, where they have some."""
    return {"sizes": batch["size"]} if "size" in batch else {}


def extents(batch: Batch) -> Tensor:
    """Return how large every example is (n,), on the CPU: a text by its tokens, a picture by the places of its latent.

    What an example takes in memory grows with it.
    """
    if "attention_mask" in batch:
        return batch["attention_mask"].sum(1).cpu().double().clamp_min(1)
    if "size" in batch:
        return batch["size"].cpu().double().prod(1)
    first = next(iter(batch.values()))
    area = batch["mean"].shape[-2:].numel() if "mean" in batch else 1
    return torch.full((len(first),), float(area), dtype=torch.float64)


def pieces(batch: Batch, most: int) -> list[Tensor]:
    """Return the indices of all examples in pieces of at most `most`, each of one shape."""
    if "size" not in batch:
        return list(torch.arange(len(next(iter(batch.values())))).split(most))
    found, shape = batch["size"].unique(dim=0, return_inverse=True)
    groups = [(shape == number).nonzero().flatten() for number in range(len(found))]
    return [piece for group in groups for piece in group.split(most)]


def in_order(parts: Sequence[Tensor], index: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return what was computed of the pieces `index` as one, in the order of the examples."""
    joined, place = torch.cat(list(parts), dim=dim), torch.cat(list(index))
    if bool((place.diff() > 0).all()):
        return joined
    return joined.index_select(dim, place.argsort().to(joined.device))


def cut(batch: Batch) -> Batch:
    """Return a batch of one shape without what is not filled; raises ValueError where it has several."""
    if "size" not in batch:
        return batch
    height, width = shape_of(batch["size"])
    rest = {name: tensor for name, tensor in batch.items() if name != "size"}
    return rest | {name: batch[name][..., :height, :width] for name in PLACED if name in batch}


def first_shape(batch: Batch) -> Batch:
    """Return the examples that have the shape of the first one."""
    if "size" not in batch:
        return batch
    alike = (batch["size"] == batch["size"][:1]).all(1)
    return {name: tensor[alike] for name, tensor in batch.items()}


def shape_of(sizes: Tensor) -> tuple[int, int]:
    """Return the rows and columns of latents that have one shape; raises ValueError where they have several."""
    if not bool((sizes == sizes[:1]).all()):
        raise ValueError("these examples have several shapes; compute them shape by shape")
    height, width = sizes[0].tolist()
    return int(height), int(width)


def shapes_of(batch: Batch) -> list[tuple[int, int]]:
    """Return the shape of every example; one that all share where the batch names none, also for texts."""
    if "size" in batch:
        return [(int(height), int(width)) for height, width in batch["size"].tolist()]
    first = next(iter(batch.values()))
    height, width = batch["mean"].shape[2:] if "mean" in batch else (0, 0)
    return [(height, width)] * len(first)


def on_one_canvas(batches: Sequence[Batch]) -> list[Batch]:
    """Return the batches with latents of equal sides and the same fields, so that they can be joined."""
    if not any("size" in batch or "mask" in batch for batch in batches):
        return list(batches)
    masked = any("mask" in batch for batch in batches)
    height, width = (max(batch["mean"].shape[side] for batch in batches) for side in (2, 3))
    return [_on_canvas(_masked(batch) if masked else batch, height, width) for batch in batches]


def _masked(batch: Batch) -> Batch:
    return batch if "mask" in batch else batch | {"mask": torch.ones_like(batch["mean"][:, :1])}


def _on_canvas(batch: Batch, height: int, width: int) -> Batch:
    sized = batch if "size" in batch else batch | {"size": torch.tensor(shapes_of(batch))}
    below, beside = height - batch["mean"].shape[2], width - batch["mean"].shape[3]
    grown = {name: torch.nn.functional.pad(batch[name], (0, beside, 0, below)) for name in PLACED if name in batch}
    return sized | grown


def noise_of_shapes(square: Tensor, sizes: Tensor, seed: int) -> Tensor:
    """Return noise for examples of these sizes: `square` (1, c, h, w) for those of its shape, and their own for others.

    It lies on a canvas that takes the largest, (n, c, h, w); all examples of a shape have the same.
    """
    rows, columns = (int(most) for most in sizes.max(0).values)
    channels = square.shape[1]
    whole = square.new_zeros(len(sizes), channels, rows, columns)
    for height, width in sizes.unique(dim=0).tolist():
        noise = square
        if square.shape[2:] != (height, width):
            generator = torch.Generator().manual_seed(seed + 1_000 * height + width)
            noise = torch.randn((1, channels, height, width), generator=generator)
        own = (sizes == torch.tensor([height, width])).all(1)
        whole[own, :, :height, :width] = noise
    return whole
