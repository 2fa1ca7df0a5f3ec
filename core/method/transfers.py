"""Copies between the host and a device, of which no more are waited for than somebody reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# copied from a device before the host waits: so much is pinned, and what once was pinned stays so in torch's allocator
PINNED_BYTES = 2**28


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

    Where they are more than PINNED_BYTES there is a wait for so many of them at a time.
    """
    found = [tensor if tensor.device.type != "cpu" else tensor.detach().to("cpu", copy=copy) for tensor in tensors]
    # nothing is copied of what is empty, so that nothing is waited for
    away = [place for place, tensor in enumerate(tensors) if tensor.device.type != "cpu" and tensor.numel()]
    for places in _within(PINNED_BYTES, tensors, away):
        for place, held in zip(places, _together([tensors[place] for place in places]), strict=True):
            found[place] = held
    return [held if held.device.type == "cpu" else held.detach().to("cpu") for held in found]


def _together(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of a device on the CPU after one wait.

    A copy that is waited for comes after those that were asked for before it, so only the last one has to be.
    """
    last = len(tensors) - 1
    copies = [tensor.detach().to("cpu", non_blocking=place < last) for place, tensor in enumerate(tensors)]
    # What nobody waited for lies in pinned memory, which is not to be held for long.
    return [copied.clone() if copied.is_pinned() else copied for copied in copies]


def _within(most: int, tensors: Sequence[Tensor], places: Sequence[int]) -> Iterator[list[int]]:
    """Yield places in turn, as many at a time as together have at most so many bytes, at least one."""
    some, held = list[int](), 0
    for place in places:
        if some and held + tensors[place].nbytes > most:
            yield some
            some, held = [], 0
        some.append(place)
        held += tensors[place].nbytes
    if some:
        yield some


def wait_for(device: torch.device | str) -> None:
    """Wait until a device has done all that it was given: what is timed has to be over."""
    torch.zeros((), device=device).item()
