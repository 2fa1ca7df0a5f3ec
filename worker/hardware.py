"""The name of what trainers compute on here, by which measurements are told apart; torch is not loaded for it."""

from __future__ import annotations

import glob
import os
import platform
from pathlib import Path

from core.settings import Settings
from worker.inputs import device

MOST_CHARACTERS = 200


def hardware(settings: Settings) -> str:
    """Return the device's class and name, e.g. "cuda: NVIDIA H200" or "cpu: Xeon 8488C, 2 threads"."""
    if device(settings).startswith("cuda"):
        return f"cuda: {_gpu() or 'GPU'}"[:MOST_CHARACTERS]
    threads = settings.threads or int(os.environ.get("OMP_NUM_THREADS") or 0) or os.cpu_count() or 1
    return f"cpu: {_cpu()}, {threads} thread{'s' * (threads != 1)}"[:MOST_CHARACTERS]


def _gpu() -> str | None:
    return _field(next(iter(sorted(glob.glob("/proc/driver/nvidia/gpus/*/information"))), ""), "Model")


def _cpu() -> str:
    return _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def _field(file: str, name: str) -> str | None:
    """Return the first value that a file of `name: value` lines has under the name."""
    try:
        lines = Path(file).read_text(errors="replace").splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name and value.strip()), None)
