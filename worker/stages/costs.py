"""What a stage took: time, memory, and its work by kind, as the trainer reports it with the stage's end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from core.method.backbones.backbone import Batch, count
from core.method.backbones.profiler import Profiler
from worker.device import is_gpu
from worker.protocol import Json

LENGTHS = 40  # quantiles that stand for the lengths of many texts
PEAK = "5"  # tells Linux to begin a new peak of resident memory


@contextmanager
def measured(profiler: Profiler, device: str) -> Iterator[Json]:
    """Fill the report with what the block has taken on a device, once it ends well; `profiler` counts from anew."""
    report: Json = {}
    profiler.begin()
    _begin_peak(device)
    began, cpu = time.perf_counter(), time.process_time()
    yield report
    kinds = {kind: asdict(amount) for kind, amount in profiler.kinds.items()}  # waits for what a GPU still computes
    report |= {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "facts": profiler.facts,
        "memory": {"host": _resident_peak(), "device": _device_peak(device)},
        "kinds": kinds,
    }


def note_examples(profiler: Profiler, name: str, batch: Batch) -> None:
    """Note how many examples there are under the name and, of texts, how long they are."""
    profiler.facts[name] = count(batch)
    if "attention_mask" in batch:
        lengths = sorted(batch["attention_mask"].sum(1).tolist())
        profiler.facts[f"{name}_tokens"] = sum(lengths)
        profiler.facts[f"{name}_lengths"] = [
            lengths[round(at * (len(lengths) - 1) / LENGTHS)] for at in range(LENGTHS + 1)
        ]


def _begin_peak(device: str) -> None:
    if _computing(device):
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text(PEAK)
    except OSError:
        return  # the peak is then that of the whole life so far


def _resident_peak() -> int | None:
    """Return the largest resident memory since `_begin_peak`, in bytes."""
    if sys.platform != "linux":
        return None
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _device_peak(device: str) -> int | None:
    """Return the most bytes that tensors took on the GPU since `_begin_peak`; None where there was none of it."""
    return torch.cuda.max_memory_allocated() if _computing(device) else None


def _computing(device: str) -> bool:
    # the device is asked first: a job on the CPU shall not begin with a GPU that is there
    return is_gpu(device) and torch.cuda.is_initialized()
