"""Spearman's rank correlation: whether two measures put the same candidates first."""

from __future__ import annotations

from torch import Tensor


def spearman(a: Tensor, b: Tensor) -> float:
    """Return the rank correlation of two vectors (n,), ties sharing their mean rank; 0 where one is constant."""
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = (x.norm() * y.norm()).item()
    return (x @ y).item() / scale if scale > 0 else 0.0


def _ranks(values: Tensor) -> Tensor:
    """Return ranks (n,), ties sharing their mean."""
    _, inverse, counts = values.double().unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[inverse]
