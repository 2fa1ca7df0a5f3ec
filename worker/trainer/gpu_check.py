"""Whether the trainer's GPU can be computed on: what is wrong with it in a sentence, and what to do about it.

Asked of a trainer that has seen no job yet. On the CPU there is nothing to ask.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from core.errors import Unavailable
from core.method.faults import out_of_memory
from worker.device import VISIBLE, is_gpu
from worker.protocol import Checked

DEVICE_FILES = Path("/dev")
SMALLEST_FREE_SHARE = 0.25  # of a GPU's memory, below which it is another's
SIDE, FILLED = 512, 64 << 20
CPU_INSTEAD = "set ALBATROSS_DEVICE=cpu to compute on the CPU, which takes very much longer"
CPU_BUILD = "The torch of this worker ({}) is built for CPUs only. Install its CUDA build, or " + CPU_INSTEAD + "."
BROKEN_BUILD = "The torch of this worker can't be loaded ({}). Install it again, for the CUDA of this machine's driver."
NONE_VISIBLE = (
    "CUDA_VISIBLE_DEVICES names no GPU. Name one there, as `nvidia-smi -L` lists them, or " + CPU_INSTEAD + "."
)
NO_FILES = (
    "{} is missing, so that no GPU can be opened. Run `nvidia-modprobe -u -c=0` as root, or start the container with "
    "its GPU (`--gpus`)."
)
NOT_PERMITTED = (
    "This user may not open {}. Give it the right to, most often by the group that the file belongs to, then start the "
    "worker again."
)
TAKEN = (
    "{:.1f} of {:.1f} GiB of the GPU's memory are free: other processes hold the rest. End them (`nvidia-smi` lists "
    "them), or name another GPU in CUDA_VISIBLE_DEVICES."
)
ALL_TAKEN = (
    "The GPU has no memory left. End the processes that hold it (`nvidia-smi` lists them), or name another GPU in "
    "CUDA_VISIBLE_DEVICES."
)
WRONG = "The GPU ({}) computes wrong sums. Take it out of this machine's service, and look into the kernel log for Xid."
TOLD_PLAINLY = frozenset({"gpu_driver_too_old", "gpu_not_supported", "gpu_busy", "gpu_memory_taken"})
# what CUDA and torch say when they can't begin, the more particular first
REASONS = (
    (
        "gpu_driver_too_old",
        r"driver on your system is too old|driver version is insufficient|unsupported toolchain",
        "The NVIDIA driver is too old for this torch, which is built for CUDA {cuda}. Update the driver, or install a "
        "torch that is built for an older CUDA.",
    ),
    (
        "gpu_driver_missing",
        r"Found no NVIDIA driver|driver initialization failed|libcuda",
        "No NVIDIA driver answers. Install or load it (`nvidia-smi` has to work as this user); in a container, start "
        "that with its GPU (`--gpus`).",
    ),
    (
        "gpu_not_supported",
        r"no kernel image is available",
        "This torch holds no code for this GPU: it is too old or too new for it. Install a torch that is built for it.",
    ),
    (
        "gpu_busy",
        r"busy or unavailable",
        "The GPU refuses another process: it is in exclusive mode, or has failed. End the process that holds it "
        "(`nvidia-smi` lists it), or set its compute mode to default.",
    ),
    (
        "gpu_hidden",
        r"No CUDA GPUs are available|no CUDA-capable device|invalid device ordinal",
        "CUDA finds no GPU{visible}. Name one that `nvidia-smi -L` lists, or leave CUDA_VISIBLE_DEVICES unset.",
    ),
    (
        "gpu_not_ready",
        r"system not yet initialized|driver mismatch|cuda driver combination|initialization error|unknown error",
        "CUDA can't begin on this machine. Where GPUs are joined by NVSwitch the fabric manager has to run, of the "
        "driver's version; after an update of the driver the machine has to be started again.",
    ),
    (
        "gpu_broken",
        r"",
        "The GPU fails at the simplest of computations. Look into the kernel log for Xid, set the GPU back "
        "(`nvidia-smi -r`) or start the machine again, then start the worker again.",
    ),
)


def check(device: str, files: Path = DEVICE_FILES, environment: Mapping[str, str] = os.environ) -> Checked:
    """Try a device; it is never an error, but a finding, that it can't be computed on."""
    if not is_gpu(device):
        return Checked()
    try:
        import torch
    except (ImportError, OSError) as error:
        return Checked("gpu_torch", BROKEN_BUILD.format(type(error).__name__))
    if torch.version.cuda is None:
        return Checked("gpu_torch", CPU_BUILD.format(torch.__version__))
    return hidden(environment) or _tried(device, files, environment)


def require(device: str) -> None:
    """Raise Unavailable, with what to do, where this process can't compute on the device."""
    refuse(check(device))


def refuse(found: Checked) -> None:
    """Raise Unavailable where a device was found that can't be computed on."""
    if found.code is not None:
        raise Unavailable(found.message or "", code=found.code)


def hidden(environment: Mapping[str, str]) -> Checked | None:
    """Say so where CUDA is told to see no GPU: a list ends at the first that is none."""
    named = environment.get(VISIBLE)
    if named is None or re.match(r"\s*(?:\d+|GPU-|MIG-)", named):
        return None
    return Checked("gpu_hidden", NONE_VISIBLE)


def closed(files: Path) -> Checked | None:
    """Say so where a device file that CUDA needs is missing, or where none may be opened."""
    gpus = sorted(files.glob("nvidia[0-9]*"))
    needed = [files / "nvidiactl", files / "nvidia-uvm", *([] if gpus else [files / "nvidia0"])]
    for path in needed:
        if not path.exists():
            return Checked("gpu_no_device_file", NO_FILES.format(f"/dev/{path.name}"))
    shut = [path for path in [*needed, *gpus] if not os.access(path, os.R_OK | os.W_OK, effective_ids=True)]
    # of several GPUs others may be shut to this worker on purpose
    if not shut or (set(shut) < set(gpus)):
        return None
    return Checked("gpu_not_permitted", NOT_PERMITTED.format(f"/dev/{shut[0].name}"))


def _tried(device: str, files: Path, environment: Mapping[str, str]) -> Checked:
    import torch

    try:
        torch.cuda.init()
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
        if free < SMALLEST_FREE_SHARE * total:
            return Checked("gpu_memory_taken", TAKEN.format(free / 2**30, total / 2**30), name, total, free)
        if not right(device):
            return Checked("gpu_broken", WRONG.format(name), name, total, free)
        return Checked(None, None, name, total, free)
    except (RuntimeError, AssertionError, torch.cuda.DeferredCudaCallError) as error:
        found = reason(error, environment, str(torch.version.cuda))
        # files tell it more plainly than CUDA does, but not everywhere are they what it needs
        return found if found.code in TOLD_PLAINLY else closed(files) or found


def reason(error: Exception, environment: Mapping[str, str] = os.environ, cuda: str = "") -> Checked:
    """Say what an error of CUDA's beginning means, and what to do about it."""
    if out_of_memory(error):
        return Checked("gpu_memory_taken", ALL_TAKEN)
    named = f" by the name that CUDA_VISIBLE_DEVICES has ({named})" if (named := environment.get(VISIBLE)) else ""
    code, words = next((code, words) for code, pattern, words in REASONS if re.search(pattern, str(error)))
    return Checked(code, words.format(cuda=cuda, visible=named))


def right(device: str) -> bool:
    """Tell whether a device multiplies, adds and remembers as the CPU does: whole numbers, exact in any order."""
    import torch

    row = torch.arange(SIDE * SIDE)
    left, other = (row.remainder(7) - 3).reshape(SIDE, SIDE), (row.remainder(5) - 2).reshape(SIDE, SIDE)
    expected = left.double() @ other.double()
    for dtype in (torch.float32, torch.bfloat16):
        product = left.to(device, dtype) @ other.to(device, dtype)
        if not torch.equal(product.cpu(), expected.to(dtype)):
            return False
    filled = torch.full((FILLED,), 165, dtype=torch.uint8, device=device)
    return bool((filled == 165).all())
