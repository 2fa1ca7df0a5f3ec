"""What the trainer's process takes of its GPU, told beside its progress; nothing where it computes on the CPU.

Only a process that has begun to compute on a GPU is asked: to ask would begin with it.
"""

from __future__ import annotations

import sys
import time

from worker.protocol import DeviceUse, Line, StageDone

USE_SECONDS = 10.0  # between two reports


class UseReports:
    """Says every few seconds, and at the end of a stage, what is taken of the GPU."""

    def __init__(self) -> None:
        self._told = -USE_SECONDS

    def due(self, line: Line) -> DeviceUse | None:
        """Return what is taken now, where it is time to say so after a line, and a GPU is computed on."""
        if not isinstance(line, StageDone) and time.monotonic() - self._told < USE_SECONDS:
            return None
        self._told = time.monotonic()
        return use()


def use() -> DeviceUse | None:
    """Return what this process takes of its GPU; None where it has not begun with one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    cuda = torch.cuda
    free, total = cuda.mem_get_info()
    return DeviceUse(
        allocated=cuda.memory_allocated(),
        peak=cuda.max_memory_allocated(),
        reserved=cuda.memory_reserved(),
        used=total - free,
        total=total,
        utilization=_utilization(),
    )


def _utilization() -> int | None:
    import torch

    try:
        return int(torch.cuda.utilization())
    except (
        ImportError,
        RuntimeError,
        OSError,
    ):  # it needs a library that is not installed everywhere, and the driver's
        return None
    except Exception as error:  # that library's own kinds
        if type(error).__module__.partition(".")[0] != "pynvml":
            raise
        return None
