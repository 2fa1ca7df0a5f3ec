"""Frozen Linears in 8 or 4 bits a weight: the whole matrix is there only while it is multiplied with.

Written here and not taken from a library: torchao's int8 keeps the whole matrix of every layer for the backward pass
(measured: 16 MiB beside 4 MiB of codes), so that training takes more memory than without it. In plain torch both are
short, the same on every device, and need nothing compiled.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Codes = Literal["int8", "nf4"]
BLOCK = 64  # weights of nf4 that share a scale
# The quantiles of a normal distribution that nf4 rounds to (QLoRA, 2305.14314, appendix E).
NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)


class QuantisedLinear(nn.Linear):
    """A frozen Linear held as codes and scales; `weight` makes the matrix anew each time it is read.

    int8: a code of -127 to 127 for each weight and a scale for each output, which is that row's largest weight / 127.
    nf4: two codes in a byte, and a scale for each BLOCK of weights, which is the largest of them.
    """

    codes: Tensor
    scales: Tensor
    like: Tensor  # empty; it has the type of floats that the network was moved to

    def __init__(self, linear: nn.Linear, kind: Codes) -> None:
        nn.Module.__init__(self)  # without a Linear's own weight
        self.in_features, self.out_features, self.kind = linear.in_features, linear.out_features, kind
        weight = linear.weight.detach()
        made, scales = _int8(weight.float()) if kind == "int8" else _nf4(weight.float())
        self.register_buffer("codes", made)
        self.register_buffer("scales", scales)
        self.register_buffer("like", weight.new_empty(0))
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The matrix W (out, in) that is computed with."""
        return self.dense(self.like.dtype)

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Return W (out, in) in a type of floats."""
        if self.kind == "int8":
            return self.codes.to(dtype) * self.scales.to(dtype)
        pairs = torch.nn.functional.embedding(self.codes.int(), _pairs(self.codes.device, dtype))
        whole = (pairs.view(-1, BLOCK) * self.scales.to(dtype)).flatten()
        return whole[: self.out_features * self.in_features].view(self.out_features, self.in_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """W x + b, in the inputs' own type."""
        product: Tensor = _Product.apply(inputs, self)
        return product if self.bias is None else product + self.bias.to(inputs.dtype)


class _Product(torch.autograd.Function):
    """W x, whose backward pass makes W again and keeps none."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, layer: QuantisedLinear) -> Tensor:
        ctx.layer = layer
        return nn.functional.linear(inputs, layer.dense(inputs.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient @ ctx.layer.dense(gradient.dtype), None


def _int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    scales = (weight.abs().amax(1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    return (weight / scales).round().clamp(-127, 127).to(torch.int8), scales


def _nf4(weight: Tensor) -> tuple[Tensor, Tensor]:
    blocks = nn.functional.pad(weight.flatten(), (0, -weight.numel() % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    table = torch.tensor(NF4, device=weight.device)
    codes = torch.bucketize((blocks / scales).flatten(), (table[1:] + table[:-1]) / 2, out_int32=True).to(torch.uint8)
    return codes[0::2] * 16 + codes[1::2], scales


@cache
def _pairs(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the two weights, relative to their scale, that each byte stands for, (256, 2)."""
    table = torch.tensor(NF4, dtype=dtype, device=device)
    return torch.stack([table.repeat_interleave(16), table.repeat(16)], dim=1)
