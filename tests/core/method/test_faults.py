"""What torch raises on GPUs, in its own classes, which are raised here without one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from core.disk import ROOT
from core.errors import JobFailure
from core.method.faults import DeviceFault, device_fault, out_of_memory, smaller_may_fit

NO_ALGORITHM = "Unable to find a valid cuDNN algorithm to run convolution"
MEMORY = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"),
    torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
)
PROGRAM = (
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    torch.AcceleratorError("CUDA error: unspecified launch failure"),
    torch.AcceleratorError("CUDA error: words of a later CUDA"),
    RuntimeError("CUDA error: misaligned address"),
    RuntimeError("CUDA error: the launch timed out and was terminated"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
)
HARDWARE = (
    torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
    torch.AcceleratorError("CUDA error: uncorrectable NVLink error detected during the execution"),
    torch.AcceleratorError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
    torch.AcceleratorError("CUDA error: no CUDA-capable device is detected"),
    torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device"),
    torch.cuda.DeferredCudaCallError(
        "CUDA call failed lazily at initialization with error: No CUDA GPUs are available"
    ),
    RuntimeError("GPU has fallen off the bus"),
    RuntimeError("NVRM: Xid (PCI:0000:3b:00): 79"),
    RuntimeError("No CUDA GPUs are available"),
    RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."),
    RuntimeError("Found no NVIDIA driver on your system."),
    RuntimeError("Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display driver"),
    RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"),
    AssertionError("Torch not compiled with CUDA enabled"),
)
NEITHER = (
    ValueError("out of memory, says a caption"),
    KeyError("an illegal memory access"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x8 and 4x8)"),
    RuntimeError("NCCL knows nothing of Xidium, nor of ECCENTRIC words"),
    AssertionError("device-side"),
)


@pytest.mark.parametrize("error", MEMORY, ids=str)
def test_memory_that_was_short_is_no_fault(error: Exception) -> None:
    assert out_of_memory(error)
    assert smaller_may_fit(error)
    assert device_fault(error) is None


@pytest.mark.parametrize("words", ["GET was unable to find an engine to execute this computation", NO_ALGORITHM])
def test_cudnn_that_finds_no_algorithm_may_have_had_no_room(words: str) -> None:
    error = RuntimeError(words)
    assert smaller_may_fit(error)
    assert (out_of_memory(error), device_fault(error)) == (False, None)


@pytest.mark.parametrize("error", PROGRAM, ids=str)
def test_what_ran_on_the_gpu_may_have_failed(error: Exception) -> None:
    assert (out_of_memory(error), device_fault(error)) == (False, DeviceFault.PROGRAM)


@pytest.mark.parametrize("error", HARDWARE, ids=str)
def test_the_gpu_itself_may_have_failed(error: Exception) -> None:
    assert (out_of_memory(error), device_fault(error)) == (False, DeviceFault.HARDWARE)


@pytest.mark.parametrize("error", NEITHER, ids=str)
def test_other_errors_say_neither(error: Exception) -> None:
    assert (out_of_memory(error), device_fault(error)) == (False, None)


def test_an_error_says_what_it_was_raised_from() -> None:
    wrapped = ValueError("the second")
    wrapped.__cause__ = torch.OutOfMemoryError("CUDA out of memory.")
    assert out_of_memory(wrapped)
    wrapped.__cause__ = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    assert device_fault(wrapped) is DeviceFault.PROGRAM
    wrapped.__cause__.__cause__ = torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered")
    assert device_fault(wrapped) is DeviceFault.HARDWARE


def test_what_was_only_being_handled_says_nothing() -> None:
    damaged = JobFailure("The file is damaged.", code="invalid_training_file")
    damaged.__context__ = torch.OutOfMemoryError("CUDA out of memory.")
    assert not out_of_memory(damaged)


def test_who_asks_need_not_load_torch() -> None:
    program = "import sys, core.method.faults; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"
