"""The training loop: fits stacked adapters and yields after every optimizer step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import JobFailure
from core.method.backbone import Backbone, Batch, Draw, count, take, tile, tile_draw
from core.method.lora import Adapter

EVALUATED_AT_ONCE = 64  # samples in one forward pass without gradients


@dataclass(frozen=True)
class Step:
    """What one optimizer step showed; losses and gradient norms one for each run."""

    step: int
    loss: tuple[float, ...]
    gradient_norm: tuple[float, ...]
    learning_rate: float
    similarity: float | None = None
    fluctuation: float | None = None
    reference_loss: float | None = None
    heldout_loss: float | None = None
    probe_loss: float | None = None
    turning_point: int | None = None


def train(
    backbone: Backbone,
    adapter: Adapter,
    batches: Iterator[tuple[Batch, Draw]],
    *,
    learning_rate: float,
    max_steps: int,
    weight_decay: float = 0.0,
    clip: float = 1.0,
) -> Iterator[Step]:
    """Fit the adapter's runs to their parts of each batch, yielding after every optimizer step.

    A batch holds R b samples, run-major. Losses add over runs and AdamW works on single numbers, so R stacked runs are
    exactly R separate ones; gradients are clipped by the norm of each run. Raises JobFailure "diverged" on a loss that
    is not finite.
    """
    parameters = adapter.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    for step, (batch, draw) in zip(range(1, max_steps + 1), batches, strict=False):
        with torch.enable_grad(), backbone.lora.use(adapter):
            losses = backbone.loss(batch, draw).reshape(adapter.runs, -1).mean(1)
            losses.sum().backward()
        if not bool(losses.isfinite().all()):
            raise JobFailure(
                f"The loss was no longer a number at step {step}. Lower learning_rate, or look for broken references.",
                code="diverged",
            )
        norms = _clip(parameters, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield Step(step, tuple(losses.tolist()), tuple(norms.tolist()), learning_rate)


def _clip(parameters: Sequence[Tensor], limit: float) -> Tensor:
    """Scale each run's gradient to at most `limit`; returns the norms before, (R,)."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
    factors = (limit / norms.clamp_min(1e-12)).clamp_max(1.0).view(-1, 1, 1)
    for gradient in gradients:
        gradient.mul_(factors)
    return norms


@torch.no_grad()
def evaluate(backbone: Backbone, adapter: Adapter | None, batch: Batch, draws: Sequence[Draw]) -> Tensor:
    """Return the loss of every example under every run, (R, n) on the CPU, averaged over the draws."""
    runs = adapter.runs if adapter else 1
    size = max(1, EVALUATED_AT_ONCE // runs)
    parts = []
    with backbone.lora.use(adapter):
        for index in torch.arange(count(batch)).split(size):
            total = torch.zeros(runs, len(index))
            for draw in draws:
                losses = backbone.loss(tile(take(batch, index), runs), tile_draw(_part(draw, index), runs))
                total += losses.reshape(runs, -1).float().cpu()
            parts.append(total / len(draws))
    return torch.cat(parts, dim=1)


def _part(draw: Draw, index: Tensor) -> Draw:
    return Draw(**{name: None if part is None else part[index.to(part.device)] for name, part in vars(draw).items()})
