"""How a device is measured: times that have waited for it, its memory, its kernels; and how far numbers are off."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import torch
from torch import Tensor

Facts = dict[str, Any]
Yielded = TypeVar("Yielded")
Returned = TypeVar("Returned")
TOP = 10  # kernels that a profile names
NAME = 56  # characters of a kernel's name, whose templates are longer than a page


def cuda() -> bool:
    """Whether there is a GPU, which is then what everything runs on unless told otherwise."""
    return torch.cuda.is_available()


def wait() -> None:
    """Wait until the device has done all that it was given."""
    if cuda():
        torch.cuda.synchronize()


def timed(action: Callable[[], object], times: int, warm: int = 2) -> float:
    """Return the median seconds of a call, the device waited for each time."""
    for _ in range(warm):
        action()
    wait()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        wait()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def release() -> None:
    """Give memory back, and begin to watch its peak anew."""
    gc.collect()
    if cuda():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak() -> float | None:
    """Return the most memory that tensors have taken since `release`, in GiB."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if cuda() else None


def row(seconds: float, **more: object) -> Facts:
    """Describe what a step takes."""
    return {"ms": round(1e3 * seconds, 2), "peak GiB": peak(), **more}


def off(value: Tensor, wanted: Tensor) -> float:
    """Return ||value - wanted|| / ||wanted||; NaN never passes for small."""
    value, wanted = value.detach().double().cpu(), wanted.detach().double().cpu()
    return float((value - wanted).norm() / wanted.norm().clamp_min(1e-30))


def cosine(value: Tensor, wanted: Tensor) -> float:
    """Return the cosine of two tensors, flat."""
    return float(torch.cosine_similarity(value.double().cpu().flatten(), wanted.double().cpu().flatten(), dim=0))


def drained(
    generator: Generator[Yielded, None, Returned], until: int | None = None
) -> tuple[list[Yielded], Returned | None]:
    """Run a generator to its end, or close it after so many steps; returns what it yielded and its result."""
    steps: list[Yielded] = []
    while until is None or len(steps) < until:
        try:
            steps.append(next(generator))
        except StopIteration as done:
            return steps, done.value
    generator.close()
    return steps, None


def profiled(action: Callable[[], object], times: int = 2) -> Facts:
    """Return kernels, the host's waits, and the share of the time in which the device computes, of one call."""
    if not cuda():
        return {}
    from torch.profiler import ProfilerActivity, profile

    for _ in range(2):
        action()
    wait()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        began = time.perf_counter()
        for _ in range(times):
            action()
        wait()
        seconds = time.perf_counter() - began
    return _summary(list(found.events()), seconds, times)


def _summary(events: list[Any], seconds: float, times: int) -> Facts:
    kernels = [event for event in events if "CUDA" in str(event.device_type)]
    busy = sum(event.time_range.elapsed_us() for event in kernels) / 1e6
    by_name: dict[str, tuple[float, float]] = {}
    for event in kernels:
        calls, ms = by_name.get(event.name[:NAME], (0.0, 0.0))
        by_name[event.name[:NAME]] = calls + 1 / times, ms + event.time_range.elapsed_us() / 1e3 / times
    heaviest = sorted(by_name.items(), key=lambda pair: -pair[1][1])[:TOP]
    return {
        "kernels": len(kernels) // times,
        "copies": sum(event.name.startswith("Memcpy") for event in kernels) / times,
        "host waits": sum("Synchronize" in event.name for event in events) / times,
        "busy share (profiled)": round(busy / seconds, 3),
        "busy ms": round(1e3 * busy / times, 2),
        "top: times, ms": {name: [round(calls), round(ms, 2)] for name, (calls, ms) in heaviest},
    }
