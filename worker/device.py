"""What trainers compute on: the device, its class, and its name, which tells measurements apart; without torch."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from core.backbones.families import DeviceClass
from core.settings import Settings

MAX_NAME_CHARACTERS = 200
DEVICE_FILES, DRIVER = Path("/dev"), Path("/proc/driver/nvidia")
VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
# as `nvidia-smi` counts, and as can be told here: which of several GPUs is the fastest only CUDA knows
USUAL_ORDER = "PCI_BUS_ID"
MIG = re.compile(r"MIG-(?:(GPU-[0-9a-f-]+)/\d+/\d+|[0-9a-f-]+)")


def hardware(settings: Settings) -> str:
    """Return the device's class and name, e.g. "cuda: NVIDIA H200" or "cpu: Xeon 8488C, 2 threads"."""
    if is_gpu(device(settings)):
        return f"cuda: {gpu_name() or 'GPU'}"[:MAX_NAME_CHARACTERS]
    threads = settings.threads or int(os.environ.get("OMP_NUM_THREADS") or 0) or os.cpu_count() or 1
    return f"cpu: {_cpu()}, {threads} thread{'s' * (threads != 1)}"[:MAX_NAME_CHARACTERS]


def gpu_name(environment: Mapping[str, str] = os.environ, driver: Path = DRIVER) -> str | None:
    """Return the model of the GPU that CUDA counts as its first; None where that can't be told from here.

    CUDA_VISIBLE_DEVICES names it by its number, by the beginning of its UUID, or as a part of one (MIG), whose size is
    not told here.
    """
    gpus = [fields(path) for path in sorted(driver.glob("gpus/*/information"))]
    models = [gpu.get("Model", "") for gpu in gpus]
    first = environment.get(VISIBLE, "0").split(",")[0].strip()
    if (part := MIG.fullmatch(first)) is not None:
        model = _of_uuid(gpus, part[1]) if part[1] else _only(models)
        return f"{model} MIG" if model else None
    if first.startswith("GPU-"):
        return _of_uuid(gpus, first)
    if not first.isdecimal() or int(first) >= len(models):
        return None
    counted = environment.get(ORDER, USUAL_ORDER) == USUAL_ORDER
    return (models[int(first)] if counted else _only(models)) or None


def _of_uuid(gpus: list[dict[str, str]], beginning: str) -> str | None:
    return _only([gpu.get("Model", "") for gpu in gpus if gpu.get("GPU UUID", "").startswith(beginning)])


def _only(models: list[str]) -> str | None:
    return models[0] if len(set(models)) == 1 else None


def _cpu() -> str:
    return fields(Path("/proc/cpuinfo")).get("model name") or platform.processor() or platform.machine()


def fields(file: Path) -> dict[str, str]:
    """Return what a file of `name: value` lines says, of each name the first value."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    return dict(reversed([(key, value) for key, value in pairs if value]))


def device(settings: Settings, files: Path = DEVICE_FILES, driver: Path = DRIVER) -> str:
    """Return the trainer's device; "auto" asks for a GPU by its device file, since torch is not loaded here.

    Where there is a GPU it stays the device also when it can't be used: the worker says so, and takes no job.
    """
    if settings.device != "auto":
        return settings.device
    return "cuda" if any(files.glob("nvidia[0-9]*")) or any(driver.glob("gpus/*")) else "cpu"


def is_gpu(device: str) -> bool:
    """Tell whether a device is a GPU."""
    return device.startswith("cuda")


def device_class(settings: Settings) -> DeviceClass:
    """Return which table of defaults fits the trainer's device."""
    return "cuda" if is_gpu(device(settings)) else "cpu"
