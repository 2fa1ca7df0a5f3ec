"""The gradients of a fold's references: held whole, or one group of modules after another and computed anew for each.

The curvature's blocks know nothing of each other but one number, the mean squared entry, by which all of them are
damped. One pass over the references finds it and the target gradient v; then the rows of one group at a time are
enough for that group's part of u, or of any sum over blocks. The numbers are those of the whole; the price is a pass
over the references for each group.

Shapes: n examples, K draws of noise, D adapter parameters, flat.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, Draw, count, part_of, take
from core.method.influence.curvature import Curvature
from core.method.influence.gradients import each_gradient, flattened, layout_of, per_sample_gradients
from core.method.lora.adapter import Adapter
from core.method.transfers import to_device

Modules = tuple[str, ...]


@dataclass(frozen=True)
class References:
    """The references of one fold at its surrogate `adapter` (R=1), and how G is damped.

    `held` are the indices of those behind v, `trained` of those behind G, every draw a row.
    """

    backbone: Backbone
    adapter: Adapter
    batch: Batch
    draws: Sequence[Draw]
    held: Sequence[int]
    trained: Sequence[int]
    damping: float
    pooled: bool


@dataclass(frozen=True)
class Part:
    """The curvature of some modules, and where their parameters lie in a whole gradient."""

    modules: Modules | None  # None: all of them
    spans: tuple[slice, ...]
    curvature: Curvature

    def of(self, whole: Tensor) -> Tensor:
        """Return what belongs to these modules of vectors (..., D)."""
        return whole if self.modules is None else torch.cat([whole[..., span] for span in self.spans], dim=-1)

    def put(self, part: Tensor, whole: Tensor) -> None:
        """Write these modules' share of a vector (D,) into it."""
        for span, block in zip(self.spans, self.curvature.blocks, strict=True):
            whole[span] = part[block]


class ReferenceRows(Protocol):
    """What scores need of the references' gradients."""

    target: Tensor  # v (D,), the mean gradient of the held-out references

    def visit(self, look: Callable[[Part], None]) -> None:
        """Show the curvature of the references trained on, part by part."""


class WholeRows:
    """All rows at once: one pass over the references, and the curvature stays as long as this object."""

    def __init__(self, references: References) -> None:
        r = references
        gradients = per_sample_gradients(r.backbone, r.adapter, r.batch, r.draws, per_draw=True)
        blocks, rows = gradients.blocks, gradients.rows.unflatten(0, (-1, len(r.draws)))
        held, trained_on = (to_device(torch.tensor(list(part)), rows.device) for part in (r.held, r.trained))
        self.target = rows.mean(1)[held].mean(0)
        trained = rows[trained_on].flatten(0, 1)
        del gradients, rows  # which are the same memory
        self._part = Part(None, blocks, Curvature.of(trained, blocks, r.damping, pooled=r.pooled))

    def visit(self, look: Callable[[Part], None]) -> None:
        """Show the only part."""
        look(self._part)


class GroupedRows:
    """The rows of one group of modules at a time; each visit computes all of them again."""

    def __init__(self, references: References, groups: Sequence[Modules]) -> None:
        self._references, self._groups = references, groups
        self.target, self._mean_square = _target_and_mean_square(references)

    def visit(self, look: Callable[[Part], None]) -> None:
        """Show one part after another; each is gone before the next is computed, which a generator could not see to."""
        for group in self._groups:
            look(self._part(group))

    def _part(self, group: Modules) -> Part:
        r = self._references
        index = torch.tensor(list(r.trained))
        draws = [part_of(draw, index) for draw in r.draws]
        batch = take(r.batch, index)
        gradients = per_sample_gradients(r.backbone, r.adapter, batch, draws, per_draw=True, modules=group)
        curvature = Curvature.of(
            gradients.rows, gradients.blocks, r.damping, pooled=r.pooled, mean_square=self._mean_square
        )
        return Part(group, _spans(r.adapter, group), curvature)


def _spans(adapter: Adapter, modules: Collection[str]) -> tuple[slice, ...]:
    return tuple(block.span for block in layout_of(adapter) if block.path in modules)


def _target_and_mean_square(references: References) -> tuple[Tensor, float]:
    """Return v (D,), and the mean squared entry of all rows behind G; no more than a few rows are ever there.

    Summed in float64, where the order of summands does not show.
    """
    r = references
    amount, parameters = count(r.batch), layout_of(r.adapter)[-1].span.stop
    held, trained = _shares(r.held, amount), _shares(r.trained, amount)
    target, square = None, torch.zeros((), dtype=torch.float64, device=r.backbone.device)
    for index, gradients in each_gradient(r.backbone, r.adapter, r.batch, r.draws):
        device = gradients[0].device
        if held[index].any():
            weights = to_device(held[index] / len(r.draws), device)
            sums = [(weights @ gradient.flatten(1).double())[None] for gradient in gradients]
            target = sums if target is None else [a.add_(b) for a, b in zip(target, sums, strict=True)]
        norms = torch.stack([gradient.flatten(1).square().sum(1, dtype=torch.float64) for gradient in gradients])
        square += norms.sum(0) @ to_device(trained[index] / len(r.draws), device)
    assert target is not None
    return flattened(target)[0].float(), square.item() / parameters


def _shares(indices: Sequence[int], amount: int) -> Tensor:
    """Return the weight of every example in the mean over `indices` (amount,)."""
    shares = torch.zeros(amount, dtype=torch.float64)
    shares[list(indices)] = 1 / len(indices)
    return shares
