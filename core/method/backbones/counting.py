"""The loss of a batch in which some examples protect the backbone: what each one's data and its distance count."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from core.method.backbones.shapes import Batch
from core.method.transfers import to_device


def counted(losses: Tensor, batch: Batch, distances: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the losses (N,) as a batch says that they count, with the distances of those whose distance counts.

    `distances` is given the indices of these, on the CPU, so that no device is waited for, and returns theirs. Nothing
    of the frozen network is computed for the others.
    """
    if "weight" not in batch:
        return losses
    weight, distil = to_device(batch["weight"], losses.device), batch["distil"]
    losses = losses * weight
    rows = distil.nonzero().flatten()
    if not len(rows):
        return losses
    far = distances(rows) * to_device(distil[rows], losses.device)
    return losses.index_add(0, to_device(rows, losses.device), far)
