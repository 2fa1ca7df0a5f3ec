"""Slow or rougher ways to the numbers of core.method.influence: what the fast ones are held against.

Shapes: n examples, K draws of noise, D adapter parameters, flat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.method.backbones.backbone import Backbone, Batch, Draw, count, part_of, take
from core.method.influence.curvature import Curvature
from core.method.influence.gradients import as_adapter, flat
from core.method.lora.adapter import Adapter

SMALL_STEPS = (0.015, 0.005, 0.0015, 0.0005)  # ||h u|| / ||theta||, the largest first: it drowns round-off best
Solution = Literal["woodbury", "datainf", "identity"]
Engine = Callable[[Backbone, Adapter, Adapter, Batch, Draw], Tensor]  # backbone, theta, u, examples, noise -> (n,)


def loop(backbone: Backbone, adapter: Adapter, direction: Adapter, batch: Batch, draw: Draw) -> Tensor:
    """One candidate, one backward, one inner product."""
    u, slopes = flat(direction)[0], []
    for i in range(count(batch)):
        index = torch.tensor([i])
        with torch.enable_grad(), backbone.lora.use(adapter):
            (loss,) = backbone.loss(take(batch, index), part_of(draw, index))
        gradient = torch.autograd.grad(loss, adapter.parameters())
        slopes.append(torch.cat([part.flatten() for part in gradient]) @ u)
    return torch.stack(slopes)


def forward_mode(backbone: Backbone, adapter: Adapter, direction: Adapter, batch: Batch, draw: Draw) -> Tensor:
    """Push u forward through the weights; the fused attention kernels have no forward mode, the plain one has."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        dual = forward_ad.make_dual(flat(adapter)[0].detach(), flat(direction)[0])
        with backbone.lora.use(as_adapter(dual, adapter)):
            slopes = forward_ad.unpack_dual(backbone.loss(batch, draw)).tangent
    assert slopes is not None
    return slopes


def difference(fraction: float) -> Engine:
    """[L(theta + h u) - L(theta - h u)] / 2h, ||h u|| a fraction of ||theta||: below, round-off; above, curvature."""

    def engine(backbone: Backbone, adapter: Adapter, direction: Adapter, batch: Batch, draw: Draw) -> Tensor:
        theta, u = flat(adapter)[0].detach(), flat(direction)[0]
        h = fraction * (theta.norm() / u.norm()).item()
        losses = []
        for sign in (1, -1):
            with torch.no_grad(), backbone.lora.use(as_adapter(theta + sign * h * u, adapter)):
                losses.append(backbone.loss(batch, draw))
        return (losses[0] - losses[1]) / (2 * h)

    return engine


def central_difference(backbone: Backbone, adapter: Adapter, direction: Adapter, batch: Batch, draw: Draw) -> Tensor:
    """The difference whose step comes closest to the truth."""
    truth = loop(backbone, adapter, direction, batch, draw)
    found = [difference(fraction)(backbone, adapter, direction, batch, draw) for fraction in SMALL_STEPS]
    return min(found, key=lambda slopes: (slopes - truth).norm().item())


def over_draws(
    engine: Engine, backbone: Backbone, adapter: Adapter, direction: Adapter, batch: Batch, draws: Sequence[Draw]
) -> Tensor:
    """The scores (K, n) that an engine finds."""
    return torch.stack([engine(backbone, adapter, direction, batch, draw) for draw in draws]).detach().float().cpu()


def precondition(
    v: Tensor, rows: Tensor, *, blocks: Sequence[slice] | None = None, mode: Solution = "woodbury", pooled: bool = True
) -> Tensor:
    """u from v and the gradients `rows` behind the curvature, by either formula, or v itself."""
    if mode == "identity":
        return v.clone()
    curvature = Curvature.of(rows, blocks, pooled=pooled)
    return curvature.solve(v) if mode == "woodbury" else curvature.datainf(v)
