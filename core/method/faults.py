"""What an error of torch says: memory was short, or the GPU or its program has failed; told without loading torch.

Memory that is short is no fault: with smaller sizes the same process may go on. After a fault of the device the
process's CUDA context is dead, and every call in it fails, whatever it is for: only another process can go on.
"""

from __future__ import annotations

import re
from enum import StrEnum


class DeviceFault(StrEnum):
    """What has failed."""

    PROGRAM = "program"  # what ran on the GPU: a fault of the code, of what it was given, or of the GPU
    HARDWARE = "hardware"  # the GPU or its driver, whatever ran


# torch's own classes, by name: who asks need not have loaded it
MEMORY_KINDS = frozenset({"MemoryError", "OutOfMemoryError"})
# a library of CUDA's that finds no memory for its own state says that it can't be set up
MEMORY_WORDS = re.compile(
    r"out of memory|can't allocate memory|not enough memory|std::bad_alloc|cudaErrorMemoryAllocation"
    r"|CU[A-Z]+_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED|INSUFFICIENT_RESOURCES|INTERNAL_ERROR_\w+_ALLOCATION_FAILED)"
)
# cuDNN says no more where no algorithm had room to work in; where none is made for the GPU it says the same
NO_ALGORITHM = re.compile(r"unable to find an engine to execute|Unable to find a valid cuDNN algorithm")
# after these the GPU itself is in doubt; in the words of CUDA's runtime, its driver and its tools
HARDWARE_WORDS = re.compile(
    r"\bECC error|uncorrectable|fallen off the bus|GPU is lost|\bXid\b|hardware stack error|NVLink error"
    r"|no CUDA-capable device|No CUDA GPUs are available|busy or unavailable"
    r"|system not yet initialized|cudaGetDeviceCount|cuda driver combination|driver shutting down"
    r"|CUDA unknown error|CUDA error: unknown error"
    r"|NVIDIA driver on your system|driver version is insufficient|Torch not compiled with CUDA"
    r"|invalid device ordinal|driver initialization failed|CUDA error: initialization error"
    r"|no kernel image is available|unsupported toolchain"
)
PROGRAM_WORDS = re.compile(
    r"device-side assert|illegal memory access|illegal instruction|misaligned address|invalid program counter"
    r"|unspecified launch failure|launch timed out|operation not supported on global/shared address space"
    r"|CU[A-Z]+_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR|ARCH_MISMATCH)|CUFFT_(?:EXEC_FAILED|INTERNAL_ERROR)"
)
# raised for anything that CUDA answers but success, and, unlike a RuntimeError, for nothing else
PROGRAM_KINDS = frozenset({"AcceleratorError"})
# raised from what CUDA could not begin with, whose words it repeats
BEGINNING_KINDS = frozenset({"DeferredCudaCallError"})
MAX_CAUSES = 8


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, or what it was raised from, says that memory was short: the host's or the device's."""
    return any(_says_memory(each) for each in _causes(error))


def smaller_may_fit(error: BaseException) -> bool:
    """Tell whether what failed may go well with fewer samples at once: memory was short, or may have been."""
    return any(_says_memory(each) or _no_algorithm(each) for each in _causes(error))


def device_fault(error: BaseException) -> DeviceFault | None:
    """Tell which fault of the device an error, or what it was raised from, says; None where it says none."""
    if out_of_memory(error):
        return None
    told = [found for each in _causes(error) if (found := _fault(each)) is not None]
    return max(told, key=lambda fault: fault is DeviceFault.HARDWARE, default=None)


def _says_memory(error: BaseException) -> bool:
    if type(error).__name__ in MEMORY_KINDS:
        return True
    # an assertion or a KeyError may quote anything
    told = isinstance(error, RuntimeError) or type(error).__name__ in BEGINNING_KINDS
    return told and MEMORY_WORDS.search(str(error)) is not None


def _no_algorithm(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and NO_ALGORITHM.search(str(error)) is not None


def _fault(error: BaseException) -> DeviceFault | None:
    # torch raises an AssertionError where it was built without CUDA
    if not isinstance(error, RuntimeError | AssertionError) and type(error).__name__ not in BEGINNING_KINDS:
        return None
    words = str(error)
    if HARDWARE_WORDS.search(words):
        return DeviceFault.HARDWARE
    if type(error).__name__ in PROGRAM_KINDS or PROGRAM_WORDS.search(words):
        return DeviceFault.PROGRAM
    return None


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and what it was raised from, on purpose; what was only being handled meanwhile says nothing."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(found) < MAX_CAUSES:
        found.append(cause)
        cause = cause.__cause__
    return found
