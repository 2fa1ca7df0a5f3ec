"""What a piece of work holds in memory, by torch's own record of its allocations."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import profile


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most bytes that tensors made by the work held at once."""
    with profile(profile_memory=True) as record:
        work()
    assert record.profiler is not None
    assert record.profiler.kineto_results is not None
    held = most = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most
