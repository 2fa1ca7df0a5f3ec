"""What computing took, also where a device computes it long after it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest

from core.method.backbones.profiler import MOST_UNREAD, Mark, Profiler


class Device:
    """A thread that computes what it is asked for in turn, once it may; its clock goes on with what it computes."""

    def __init__(self) -> None:
        self.time, self.may = 0.0, Event()
        self._queue = ThreadPoolExecutor(1)
        self._queue.submit(self.may.wait)

    def compute(self, seconds: float) -> None:
        self._queue.submit(self._go_on, seconds)

    def now(self) -> Future[float]:
        return self._queue.submit(lambda: self.time)

    def end(self) -> None:
        self.may.set()
        self._queue.shutdown()

    def _go_on(self, seconds: float) -> None:
        self.time += seconds


class Queued(Mark):
    """A moment of that device."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.at = device.now()

    def passed(self) -> bool:
        return self.at.done()

    def seconds_to(self, later: Mark) -> float:
        assert isinstance(later, Queued)
        return later.at.result() - self.at.result()


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device()
    yield made
    made.end()


def test_a_device_is_waited_for_when_its_times_are_read_and_not_before(device: Device) -> None:
    profiler = Profiler(marked=lambda: Queued(device))
    for seconds in (2.0, 3.0):
        with profiler.timed("step", 4):
            device.compute(seconds)
        device.compute(100.0)  # between two blocks
    assert device.time == 0.0
    device.may.set()
    step = profiler.kinds["step"]
    assert (step.calls, step.units, step.seconds) == (2, 8, 5.0)
    assert profiler.kinds["step"] is step
    assert step.seconds == 5.0  # read once


def test_what_a_device_is_through_with_is_read_on_the_way(device: Device) -> None:
    profiler = Profiler(marked=lambda: Queued(device))
    device.may.set()
    for _ in range(2 * MOST_UNREAD):
        with profiler.timed("score", 1):
            device.compute(1.0)
        device.now().result()
    assert len(profiler._unread) == MOST_UNREAD
    assert profiler.kinds["score"].seconds == 2 * MOST_UNREAD


def test_what_was_counted_before_is_forgotten_with_what_was_not_read(device: Device) -> None:
    profiler = Profiler(marked=lambda: Queued(device))
    with profiler.timed("step", 1):
        device.compute(1.0)
    profiler.facts["probe"] = 1
    profiler.begin()
    assert (profiler.kinds, profiler.facts) == ({}, {})


def test_a_block_that_raises_is_not_counted() -> None:
    profiler = Profiler()
    with pytest.raises(ValueError, match="broken"), profiler.timed("step", 1):
        raise ValueError("broken")
    assert profiler.kinds == {}


def test_on_a_cpu_the_host_is_timed() -> None:
    profiler = Profiler(marked=Mark)
    with profiler.timed("step", 1):
        sum(range(1000))
    assert profiler.kinds["step"].seconds > 0
