"""Matrices in another type of floats, all of them in a few kernels; their gradients come back in their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def cast(matrices: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return the matrices in `dtype`; what records no gradient is kept out of what does."""
    fixed = [matrix for matrix in matrices if not matrix.requires_grad]
    learned = [matrix for matrix in matrices if matrix.requires_grad]
    made = [*_copied(fixed, dtype), *(_Cast.apply(dtype, *learned) if learned else ())]
    by_matrix = {id(matrix): copy for matrix, copy in zip((*fixed, *learned), made, strict=True)}
    return [by_matrix[id(matrix)] for matrix in matrices]


class _Cast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *matrices: Tensor) -> tuple[Tensor, ...]:
        ctx.dtype = matrices[0].dtype
        ctx.set_materialize_grads(False)  # what nothing flows through is to be told from what has a gradient of zero
        return tuple(_copied(matrices, dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        made = iter(_copied([gradient for gradient in gradients if gradient is not None], ctx.dtype))
        return None, *(None if gradient is None else next(made) for gradient in gradients)


def _copied(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    copies = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    if copies:
        torch._foreach_copy_(copies, list(tensors))
    return copies
