from __future__ import annotations

import errno

import pytest
from safetensors import SafetensorError

from core.errors import InvalidInput, JobFailure, StorageUnavailable, TransientFailure
from worker.trainer.failures import failure


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@pytest.mark.parametrize(
    ("error", "code", "transient", "exhausted"),
    [
        (JobFailure("Lower it.", code="diverged"), "diverged", False, False),
        (TransientFailure("Soon.", code="disk_full"), "disk_full", True, False),
        (StorageUnavailable("Soon.", code="storage_unavailable"), "storage_unavailable", True, False),
        (InvalidInput("Line 3.", code="invalid_line"), "invalid_training_file", False, False),
        (JobFailure("Training did not fit.", code="out_of_memory"), "out_of_memory", False, True),
        (MemoryError(), "out_of_memory", False, True),
        (OutOfMemoryError("CUDA out of memory"), "out_of_memory", False, True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory", False, True),
        (OSError(errno.ENOSPC, "No space left"), "disk_full", True, True),
        (SafetensorError("Error while serializing: I/O error: No space left (os error 28)"), "disk_full", True, True),
        (OSError(errno.EFBIG, "File too large"), "file_too_large", False, True),
        (RuntimeError("CUDA error: an illegal memory access"), "internal_error", True, True),
        (KeyError("canary"), "internal_error", True, True),
    ],
)
def test_an_error_is_told_by_code_and_by_what_to_do(
    error: Exception, code: str, transient: bool, exhausted: bool
) -> None:
    told = failure(error)
    assert (told.code, told.transient, told.exhausted) == (code, transient, exhausted)
    assert "canary" not in told.message
