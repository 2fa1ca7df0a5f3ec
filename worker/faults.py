"""From an exception in the trainer to what the supervisor is told: code, sentence, and whether to try again."""

from __future__ import annotations

import errno

from core.errors import AlbatrossError, JobFailure, TransientFailure
from worker.protocol import Failed

OUT_OF_MEMORY = "The job did not fit into memory. Use a smaller batch_size, resolution or rank."
DISK_FULL = "The worker's disk is full. The operator has to make room; the job is tried again."
UNEXPECTED = "The trainer met an error of its own; the operator finds it in the worker's log."
# torch's own classes, by name: this module must not load torch
MEMORY_ERRORS = frozenset({"MemoryError", "OutOfMemoryError"})


def failure(error: Exception) -> Failed:
    """Describe an error; one that nobody raised on purpose also ends this process, whose state is then unknown."""
    if isinstance(error, JobFailure):
        return Failed(
            error.code, error.message, transient=isinstance(error, TransientFailure), exhausted=False, param=error.param
        )
    if isinstance(error, AlbatrossError):
        return Failed("invalid_training_file", error.message, param=error.param)
    if _out_of_memory(error):
        return Failed("out_of_memory", OUT_OF_MEMORY, exhausted=True)
    if disk_full(error):
        return Failed("disk_full", DISK_FULL, transient=True, exhausted=True)
    return Failed("internal_error", UNEXPECTED, transient=True, exhausted=True)


def disk_full(error: Exception) -> bool:
    """Tell whether an error says that there is no room on this machine's disk."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _out_of_memory(error: Exception) -> bool:
    # the CPU allocator of torch raises a plain RuntimeError
    return type(error).__name__ in MEMORY_ERRORS or "can't allocate memory" in str(error)
