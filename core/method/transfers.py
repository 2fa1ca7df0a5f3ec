"""Copies between the host and a device, of which no more are waited for than somebody reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on a device, in its own dtype; the host does not wait for a GPU.

    CUDA copies from pinned memory while the host goes on; the allocator of pinned memory knows when it has.
    """
    device = torch.device(device)
    if tensor.device.type != "cpu" or device.type == "cpu":
        return tensor.to(device)
    source = tensor.contiguous()  # what is not takes its way through memory that is not pinned
    return (source.pin_memory() if device.type == "cuda" else source).to(device, non_blocking=True)


def to_host(tensors: Sequence[Tensor], *, copy: bool = False) -> list[Tensor]:
    """Return tensors on the CPU, after one wait for all that lie on a device; with `copy` also the others as copies.

    A copy that is waited for comes after those that were asked for before it, so only the last one has to be.
    """
    away = [place for place, tensor in enumerate(tensors) if tensor.device.type != "cpu"]
    copies = [
        tensor.detach().to("cpu", non_blocking=place in away[:-1], copy=copy) for place, tensor in enumerate(tensors)
    ]
    # What nobody waited for lies in pinned memory, which is not to be held for long.
    return [copied.clone() if copied.is_pinned() else copied for copied in copies] if away else copies


def wait_for(device: torch.device | str) -> None:
    """Wait until a device has done all that it was given: what is timed has to be over."""
    torch.zeros((), device=device).item()
