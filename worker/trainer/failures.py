"""From an exception in the trainer to what the supervisor is told: code, sentence, and whether to try again."""

from __future__ import annotations

import errno
import re

from core.errors import AlbatrossError, JobFailure, TransientFailure
from core.method.faults import DeviceFault, device_fault, out_of_memory
from worker.protocol import Failed

OUT_OF_MEMORY = (
    "The job did not fit into memory where nothing can be computed in smaller pieces. Use a smaller resolution, "
    "max_tokens or rank, or bat.precision nf4; else the operator has to give it a larger GPU."
)
DISK_FULL = "The worker's disk is full. The operator has to make room; the job is tried again."
FILE_TOO_LARGE = (
    "The trainer may not write files that large. Use a smaller rank, or have the operator raise max_trainer_file_bytes."
)
UNEXPECTED = "The trainer met an error of its own; the operator finds it in the worker's log."
# by what failed: code and sentence
GPU_FAULTS = {
    DeviceFault.PROGRAM: ("gpu_fault", "What the GPU computed ended with a fault of its program, or of the GPU."),
    DeviceFault.HARDWARE: ("gpu_broken", "The GPU, or its driver, has failed."),
}
GPU_CODES = frozenset(code for code, _ in GPU_FAULTS.values())


def failure(error: Exception) -> Failed:
    """Describe an error; one that nobody raised on purpose also ends this process, whose state is then unknown."""
    if (fault := device_fault(error)) is not None:  # whatever somebody took it for who met it first
        return Failed(*GPU_FAULTS[fault], transient=True, exhausted=True)
    if isinstance(error, JobFailure):
        transient, full = isinstance(error, TransientFailure), error.code == "out_of_memory"
        return Failed(error.code, error.message, transient=transient, exhausted=full, param=error.param)
    if isinstance(error, AlbatrossError):
        return Failed("invalid_training_file", error.message, param=error.param)
    if out_of_memory(error):
        return Failed("out_of_memory", OUT_OF_MEMORY, exhausted=True)
    if disk_full(error):
        return Failed("disk_full", DISK_FULL, transient=True, exhausted=True)
    if _errno(error) == errno.EFBIG:
        return Failed("file_too_large", FILE_TOO_LARGE, exhausted=True)
    return Failed("internal_error", UNEXPECTED, transient=True, exhausted=True)


def disk_full(error: Exception) -> bool:
    """Tell whether an error says that there is no room on this machine's disk."""
    return _errno(error) in (errno.ENOSPC, errno.EDQUOT)


def _errno(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    # safetensors writes in Rust, which tells the number only in words
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else None
