"""Other ways to hold an adapter near the backbone: a lower rate, weight decay, and a price on how far weights drift.

Each run of a stack has its own, so that these controls train beside the arms that they are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.method.backbones.backbone import Batch, Draw
from core.method.lora.adapter import Adapter
from core.method.training.loop import Step, Training


@dataclass(frozen=True)
class Updates:
    """What is done with the updates of one run."""

    rate: float = 1.0  # times the experiment's learning rate
    decay: float = 0.0  # AdamW's weight decay of the adapter's matrices
    drift: float = 0.0  # weight of the squared drift of the frozen matrices, |s B A|^2 summed over modules, in the loss


USUAL = Updates()


class ChangedTraining(Training):
    """A stack whose runs differ in what is done with their updates; a run of the usual ones is trained as ever."""

    def __init__(self, updates: Sequence[Updates], *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._stack: Adapter = self._adapter
        self._drift = torch.tensor([one.drift for one in updates])
        rate = torch.tensor([one.rate for one in updates])
        self._rates, self._decay = rate, rate * self._rate * torch.tensor([one.decay for one in updates])
        self._changed = bool(((rate != 1) | (self._decay != 0)).any())

    def _backward(self, batch: Batch, draw: Draw) -> Tensor:
        losses = super()._backward(batch, draw)
        if bool(self._drift.any()):
            with torch.enable_grad():
                (self._drift.to(self._parameters[0].device) * drifted(self._stack)).sum().backward()
        return losses

    def _fit(self, batch: Batch, draw: Draw) -> Step:
        if not self._changed:
            return super()._fit(batch, draw)
        before = [parameter.detach().clone() for parameter in self._parameters]
        step = super()._fit(batch, draw)
        with torch.no_grad():
            for parameter, old in zip(self._parameters, before, strict=True):
                rate, decay = (value.to(old.device).view(-1, 1, 1) for value in (self._rates, self._decay))
                parameter.copy_(torch.where(rate == 1, parameter, old + rate * (parameter - old)) - decay * old)
        return step


def drifted(stack: Adapter) -> Tensor:
    """Return |s B A|^2 summed over modules, for every run (R,): tr((B'B)(A A')), which needs no whole matrix."""
    total = torch.zeros(stack.runs, device=next(iter(stack.up.values())).device)
    for path, up in stack.up.items():
        down = stack.down[path]
        inner = torch.bmm(up.transpose(1, 2), up) * torch.bmm(down, down.transpose(1, 2))
        total = total + stack.scale**2 * inner.sum((1, 2))
    return total
