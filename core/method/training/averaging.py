"""An average of the weights over the newest part of a run, which is measured and kept instead of the newest weights.

At a constant learning rate the newest weights jump from step to step, and what they draw and say with them. The average
is exponential with a memory that grows with the run: its weight is (1 - 1/t)^(1 + exponent) at step t, the power
function of Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (arXiv 2312.02696),
so that one constant suits runs of any length and nothing of the beginning stays. The similarity that CS-Fluctuation
looks at is, as in its paper, that of the newest weights.
"""

from __future__ import annotations

import torch

from core.method.lora.adapter import Adapter
from core.method.training.resuming import State

EXPONENT = 6.94  # a standard deviation of a tenth of the steps so far; by eye and count, on the emoji backbone


class WeightAverage:
    """The average of an adapter's weights, all runs of a stack alike; it lives where the adapter does."""

    def __init__(self, adapter: Adapter) -> None:
        self._newest = [parameter.detach() for parameter in adapter.parameters()]  # the same memory
        self.adapter = adapter.to(self._newest[0].device)
        self._average = self.adapter.parameters()

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps (at least 1); the first ones replace what was there."""
        share = 1.0 - (1.0 - 1.0 / step) ** (1.0 + EXPONENT)
        torch._foreach_lerp_(self._average, self._newest, share)

    def state(self) -> State:
        """Return the average."""
        return State(tensors={f"{at}": matrix for at, matrix in enumerate(self._average)})

    @torch.no_grad()
    def restore(self, state: State | None) -> None:
        """Go to where another average stood; to the newest weights where a version without averages left none."""
        for at, newest in enumerate(self._newest):
            self._average[at].copy_(newest if state is None else state.tensors[f"{at}"])
