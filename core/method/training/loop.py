"""The training loop: fits stacked adapters, one optimizer step at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import JobFailure
from core.method.backbones.backbone import (
    Backbone,
    Batch,
    Draw,
    by_length,
    count,
    first_lines,
    part_of,
    take,
    tile,
    tile_draw,
    units,
)
from core.method.backbones.shapes import extents, in_order, pieces
from core.method.lora.adapter import Adapter
from core.method.memory.memory import Cost
from core.method.memory.plan import grid, learning
from core.method.training.averaging import WeightAverage
from core.method.training.batches import Batches
from core.method.training.resuming import State
from core.method.transfers import to_host
from core.parameters.schedule import EVALUATED_AT_ONCE


@dataclass(frozen=True)
class Step:
    """What one optimizer step showed; losses and gradient norms one for each run."""

    step: int
    loss: tuple[float, ...]
    gradient_norm: tuple[float, ...]
    learning_rate: float
    similarity: float | None = None
    fluctuation: float | None = None
    fluctuation_step: int | None = None  # which it speaks of: the left edge of its windows
    reference_loss: float | None = None
    heldout_loss: float | None = None
    probe_loss: float | None = None
    turning_point: int | None = None
    valleys: tuple[int, ...] = ()
    looked_at: bool = False  # whether what its adapter draws or writes is to be seen


class Training:
    """Fits the adapter's runs to their parts of each batch; every `next` is one optimizer step.

    A batch holds R b samples, run-major. Losses add over runs and AdamW works on single numbers, so R stacked runs are
    exactly R separate ones; gradients are clipped by the norm of each run. A batch that does not fit into memory, or is
    to be computed in `pieces`, is computed in parts, which gives the same gradient but for rounding. Raises JobFailure
    "diverged" on a loss or a gradient that is not finite, before any weight is changed by it.
    """

    def __init__(
        self,
        backbone: Backbone,
        adapter: Adapter,
        batches: Batches,
        *,
        learning_rate: float,
        max_steps: int,
        weight_decay: float = 0.0,
        clip: float = 1.0,
        pieces: int = 1,
    ) -> None:
        self._backbone, self._adapter, self._batches = backbone, adapter, batches
        self._rate, self._budget, self._clip, self._pieces = learning_rate, max_steps, clip, pieces
        self._parameters = adapter.parameters()
        self._at_once: dict[Hashable, int] = {}  # samples, by what a sample looks like
        # None: as torch sees fit, which is several kernels
        fused = True if backbone.device.type == "cuda" else None
        self._optimizer = torch.optim.AdamW(self._parameters, lr=learning_rate, weight_decay=weight_decay, fused=fused)
        self._average = WeightAverage(adapter)
        self.step = 0

    @property
    def adapter(self) -> Adapter:
        """The weights as the newest step has left them."""
        return self._adapter

    @property
    def average(self) -> Adapter:
        """The weights averaged over the newest part of the run, which are to be measured and kept; live, not a copy."""
        return self._average.adapter

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        if self.step >= self._budget:
            raise StopIteration
        batch, draw = next(self._batches)
        with self._backbone.profiler.timed("step", units(batch)):
            return self._fit(batch, draw)

    def state(self) -> State:
        """Return the adapter, the optimizer and the place in the stream of batches, after whole steps only."""
        weights = {f"{at}": parameter.detach() for at, parameter in enumerate(self._parameters)}
        moments = self._optimizer.state_dict()["state"]
        optimizer = {f"{at}/{name}": tensor for at, entry in moments.items() for name, tensor in entry.items()}
        parts = {"weights": State(tensors=weights), "optimizer": State(tensors=optimizer)}
        parts["average"] = self._average.state()
        return State.of({**parts, "batches": self._batches.state(), "at": State({"step": self.step})})

    def restore(self, state: State) -> None:
        """Go to where another training of the same make stood."""
        with torch.no_grad():
            for name, tensor in state.part("weights").tensors.items():
                self._parameters[int(name)].copy_(tensor)
        self._average.restore(state.part("average") if "average" in state.values else None)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in state.part("optimizer").tensors.items():
            at, _, name = key.partition("/")
            moments.setdefault(int(at), {})[name] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self._batches.restore(state.part("batches"))
        self.step = state.part("at").values["step"]

    def _fit(self, batch: Batch, draw: Draw) -> Step:
        losses = self._backward(batch, draw)
        norms = _clip(self._parameters, self._clip)
        # The step's only wait for the device, before anything changes: while the next batch is made, the device has
        # what comes below to do.
        loss, norm = torch.stack([losses, norms]).tolist()
        self.step += 1
        self._check(loss, norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._average.update(self.step)
        return Step(self.step, tuple(loss), tuple(norm), self._rate)

    def _check(self, losses: Sequence[float], norms: Sequence[float]) -> None:
        if not all(map(math.isfinite, (*losses, *norms))):
            what = "gradient" if all(map(math.isfinite, losses)) else "loss"
            raise JobFailure(
                f"The {what} was no longer a number at step {self.step}. Lower learning_rate, or look for broken "
                "references.",
                code="diverged",
            )

    def _backward(self, batch: Batch, draw: Draw) -> Tensor:
        """Add every run's gradient of its mean loss; returns the losses (R,)."""
        planned = self._planned(batch, draw)
        return self._backbone.memory.fitted("step", planned, lambda at_once: self._pieced(batch, draw, at_once))

    def _planned(self, batch: Batch, draw: Draw) -> int:
        """Return how many samples are computed at once: for each size of samples that is found out once."""
        runs, key = self._adapter.runs, tuple(tensor.shape[1:] for tensor in batch.values())
        if key not in self._at_once:
            size = runs * -(-count(batch) // runs // self._pieces)
            self._at_once[key] = self._backbone.memory.at_once("step", size, lambda: self._cost(batch, draw))
        return self._at_once[key]

    def _cost(self, batch: Batch, draw: Draw) -> Cost:
        """Say what is known of a step's memory: of its largest sample, one that is held to the frozen network first."""
        adapter, runs = self._adapter.select(0), self._adapter.runs
        parameters = sum(matrix[0].numel() for matrix in self._parameters)

        def one() -> None:
            sizes = extents(batch) + batch.get("distil", torch.zeros(count(batch))).cpu().gt(0)
            part, noise = _cut(batch, draw, sizes.argmax().view(1))
            fresh = adapter.to(self._backbone.device, trainable=True)
            with torch.enable_grad(), self._backbone.lora.use(fresh, samples=1):
                torch.autograd.grad(self._backbone.loss(part, noise).sum(), fresh.parameters(), allow_unused=True)

        shape = tuple(tensor.shape[1:] for tensor in batch.values())
        return Cost(one, (parameters, shape, "distil" in batch), reserved=learning(parameters, runs))

    def _pieced(self, batch: Batch, draw: Draw, at_once: int) -> Tensor:
        """Do the work of `_backward` with so many samples at once, from its beginning."""
        self._optimizer.zero_grad(set_to_none=True)  # an attempt with more of them may have left something
        runs, total = self._adapter.runs, torch.zeros(self._adapter.runs, device=self._backbone.device)
        by_run = torch.arange(count(batch)).view(runs, -1)
        for some, columns in grid(runs, by_run.shape[1], at_once):
            index = by_run[some, columns]
            part, noise = (batch, draw) if index.shape == by_run.shape else _cut(batch, draw, index.flatten())
            with torch.enable_grad(), self._backbone.lora.use(self._adapter.part(some), samples=count(part)):
                losses = self._backbone.loss(part, noise).reshape(index.shape).mean(1)
                (losses * (index.shape[1] / by_run.shape[1])).sum().backward()
            total[some].add_(losses.detach().float() * (index.shape[1] / by_run.shape[1]))  # += would copy it back
        return total


def _cut(batch: Batch, draw: Draw, index: Tensor) -> tuple[Batch, Draw]:
    return take(batch, index), part_of(draw, index)


def _clip(parameters: Sequence[Tensor], limit: float) -> Tensor:
    """Scale each run's gradient to at most `limit`; returns the norms before, (R,)."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    by_run = list(zip(*(gradient.unbind() for gradient in gradients), strict=True))
    matrices = [matrix for run in by_run for matrix in run]
    norms = torch.stack(torch._foreach_norm(matrices)).view(len(by_run), -1).square().sum(1).sqrt()
    factors = (limit / norms.clamp_min(1e-12)).clamp_max(1.0)
    for run, factor in zip(by_run, factors.unbind(), strict=True):
        torch._foreach_mul_(list(run), factor)
    return norms


@torch.no_grad()
def evaluate(
    backbone: Backbone,
    adapter: Adapter | None,
    batch: Batch,
    draws: Sequence[Draw],
    of: Callable[[Batch, Draw], Tensor] | None = None,
) -> Tensor:
    """Return the loss of every example under every run, (R, n) on the CPU, averaged over the draws.

    `of` is another function of samples that is asked for instead of their loss, such as `backbone.distance`.

    Of a caption with several lines the first is taken, always: a line drawn anew would be noise in every curve.
    """
    batch, measured = first_lines(batch), of or backbone.loss
    runs = adapter.runs if adapter else 1
    size = max(1, EVALUATED_AT_ONCE // runs)
    parts = []
    order = torch.arange(count(batch))
    order = by_length(batch, order) if len(order) > size else order
    split = pieces(batch, size) if "size" in batch else order.split(size)
    work = sum(units(take(batch, index), runs) for index in split) * len(draws)
    with backbone.profiler.timed("evaluation", work):
        for index in split:
            parts.append(
                _evaluated(backbone, adapter, take(batch, index), [part_of(d, index) for d in draws], measured)
            )
        parts = to_host(parts)
    return in_order(parts, split, dim=1)


def _evaluated(
    backbone: Backbone,
    adapter: Adapter | None,
    batch: Batch,
    draws: Sequence[Draw],
    measured: Callable[[Batch, Draw], Tensor],
) -> Tensor:
    """Return what `evaluate` does of a batch that is computed at once where it fits into memory."""
    runs, amount = adapter.runs if adapter else 1, count(batch)

    def computed(at_once: int) -> Tensor:
        found = torch.zeros(runs, amount, device=backbone.device)
        for some, columns in grid(runs, amount, at_once):
            index, rows = torch.arange(amount)[columns], some.stop - some.start
            part = take(batch, index) if len(index) < amount else batch
            with backbone.lora.use(adapter.part(some) if adapter else None, samples=rows * len(index)):
                for draw in draws:
                    losses = measured(tile(part, rows), tile_draw(part_of(draw, index), rows))
                    found[some, columns].add_(losses.reshape(rows, -1).float())
        return found / len(draws)

    def cost() -> Cost:
        sizes = extents(batch)
        largest = sizes.argmax().view(1)

        def one() -> Tensor:
            with backbone.lora.use(adapter.select(0) if adapter else None, samples=1):
                return measured(take(batch, largest), part_of(draws[0], largest))

        return Cost(one, (float(sizes[largest]), measured == backbone.loss))

    return backbone.memory.fitted("evaluation", runs * amount, computed, cost)
