"""What trainers compute on: the device, its class, and its name, which tells measurements apart; without torch."""

from __future__ import annotations

import glob
import os
import platform
from pathlib import Path

from core.backbones.families import DeviceClass
from core.settings import Settings

MAX_NAME_CHARACTERS = 200


def hardware(settings: Settings) -> str:
    """Return the device's class and name, e.g. "cuda: NVIDIA H200" or "cpu: Xeon 8488C, 2 threads"."""
    if device(settings).startswith("cuda"):
        return f"cuda: {_gpu() or 'GPU'}"[:MAX_NAME_CHARACTERS]
    threads = settings.threads or int(os.environ.get("OMP_NUM_THREADS") or 0) or os.cpu_count() or 1
    return f"cpu: {_cpu()}, {threads} thread{'s' * (threads != 1)}"[:MAX_NAME_CHARACTERS]


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


def device(settings: Settings) -> str:
    """Return the trainer's device; "auto" asks for a GPU by its device file, since torch is not loaded here."""
    if settings.device != "auto":
        return settings.device
    return "cuda" if glob.glob("/dev/nvidia[0-9]*") else "cpu"


def device_class(settings: Settings) -> DeviceClass:
    """Return which table of defaults fits the trainer's device."""
    return "cuda" if device(settings).startswith("cuda") else "cpu"
