"""A frozen module with a LoRA branch. Shapes: R runs, r rank, N = R b samples, run-major."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LoraLayer(nn.Module):
    """A frozen Linear or 1x1 Conv2d with a LoRA branch that is there only while an adapter is in use."""

    def __init__(self, base: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.base = base
        self.convolution = isinstance(base, nn.Conv2d)
        self.scale = 1.0
        self.down: Tensor | None = None
        self.up: Tensor | None = None
        self.tangent: tuple[Tensor, Tensor, Tensor] | None = None  # U_down, U_up, epsilon (N,)

    @property
    def weight(self) -> Tensor:
        """The frozen weight, which library code asks for its dtype."""
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias."""
        return self.base.bias

    def matrix(self) -> Tensor:
        """The frozen weight as a matrix W (out, in)."""
        return self.base.weight.detach().flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """W x + s B A x, and with a tangent also epsilon_i s (U_B A x + B U_A x) for sample i."""
        outputs = self.base(inputs)
        if self.down is None or self.up is None:
            return outputs
        rows = (inputs.flatten(2).transpose(1, 2) if self.convolution else inputs).to(self.down.dtype)
        rows = rows.reshape(self.down.shape[0], -1, rows.shape[-1])
        inner = torch.bmm(rows, self.down.transpose(1, 2))
        branch = torch.bmm(inner, self.up.transpose(1, 2))
        if self.tangent is not None:
            branch = branch + self._tangent_branch(rows, inner, self.tangent)
        branch = (self.scale * branch).to(outputs.dtype)
        if self.convolution:
            samples, channels, height, width = outputs.shape
            return outputs + branch.reshape(samples, height * width, channels).transpose(1, 2).reshape(outputs.shape)
        return outputs + branch.reshape(outputs.shape)

    def _tangent_branch(self, rows: Tensor, inner: Tensor, tangent: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        assert self.up is not None
        u_down, u_up, epsilon = tangent
        moved = torch.bmm(inner, u_up.transpose(1, 2)) + torch.bmm(
            torch.bmm(rows, u_down.transpose(1, 2)), self.up.transpose(1, 2)
        )
        by_sample = moved.reshape(len(epsilon), -1, moved.shape[-1]) * epsilon.view(-1, 1, 1)
        return by_sample.reshape(moved.shape)
