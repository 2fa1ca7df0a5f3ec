from __future__ import annotations

import errno

import pytest
import torch
from safetensors import SafetensorError

from core.errors import InvalidInput, JobFailure, StorageUnavailable, TransientFailure
from worker.trainer.failures import failure


@pytest.mark.parametrize(
    ("error", "code", "transient", "exhausted"),
    [
        (JobFailure("Lower it.", code="diverged"), "diverged", False, False),
        (TransientFailure("Soon.", code="disk_full"), "disk_full", True, False),
        (StorageUnavailable("Soon.", code="storage_unavailable"), "storage_unavailable", True, False),
        (InvalidInput("Line 3.", code="invalid_line"), "invalid_training_file", False, False),
        (JobFailure("Training did not fit.", code="out_of_memory"), "out_of_memory", False, True),
        (MemoryError(), "out_of_memory", False, True),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory", False, True),
        (torch.AcceleratorError("CUDA error: out of memory"), "out_of_memory", False, True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory", False, True),
        (OSError(errno.ENOSPC, "No space left"), "disk_full", True, True),
        (SafetensorError("Error while serializing: I/O error: No space left (os error 28)"), "disk_full", True, True),
        (OSError(errno.EFBIG, "File too large"), "file_too_large", False, True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), "gpu_fault", True, True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), "gpu_fault", True, True),
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), "gpu_broken", True, True),
        (KeyError("canary"), "internal_error", True, True),
    ],
)
def test_an_error_is_told_by_code_and_by_what_to_do(
    error: Exception, code: str, transient: bool, exhausted: bool
) -> None:
    told = failure(error)
    assert (told.code, told.transient, told.exhausted) == (code, transient, exhausted)
    assert "canary" not in told.message


def test_a_fault_of_the_gpu_is_told_also_where_somebody_took_it_for_another() -> None:
    taken_for = JobFailure("The captioning model can't be loaded.", code="backbone_unavailable")
    taken_for.__cause__ = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    assert failure(taken_for).code == "gpu_fault"
