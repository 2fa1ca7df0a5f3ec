"""What is wrong with a GPU, told from what CUDA and torch say where it can't be used."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.errors import Unavailable
from tests.other_user import as_nobody
from worker.protocol import Checked
from worker.trainer import gpu_check
from worker.trainer.gpu_check import NONE_VISIBLE
from worker.trainer.gpu_use import UseReports, use


@pytest.mark.parametrize(
    ("error", "code", "next_action"),
    [
        (
            "The NVIDIA driver on your system is too old (found version 11040).",
            "gpu_driver_too_old",
            "Update the driver",
        ),
        ("CUDA driver version is insufficient for CUDA runtime version", "gpu_driver_too_old", "CUDA 13.0"),
        ("Found no NVIDIA driver on your system.", "gpu_driver_missing", "`nvidia-smi` has to work"),
        (
            "CUDA error: no kernel image is available for execution on the device",
            "gpu_not_supported",
            "Install a torch",
        ),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", "gpu_busy", "End the process"),
        ("No CUDA GPUs are available", "gpu_hidden", "by the name that CUDA_VISIBLE_DEVICES has (7)"),
        ("CUDA error: invalid device ordinal", "gpu_hidden", "`nvidia-smi -L`"),
        (
            "Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
            "gpu_not_ready",
            "fabric",
        ),
        ("CUDA unknown error - this may be due to an incorrectly set up environment", "gpu_not_ready", "started again"),
        ("CUDA error: out of memory", "gpu_memory_taken", "`nvidia-smi` lists them"),
        ("CUDA error: an illegal memory access was encountered", "gpu_broken", "kernel log"),
    ],
)
def test_what_cuda_says_becomes_a_cause_and_what_to_do(error: str, code: str, next_action: str) -> None:
    found = gpu_check.reason(torch.AcceleratorError(error), {"CUDA_VISIBLE_DEVICES": "7"}, "13.0")
    assert found.code == code
    assert next_action in (found.message or "")


@pytest.mark.parametrize("named", ["", "-1", "void", "none", " "])
def test_cuda_that_may_see_no_gpu_is_told(named: str) -> None:
    assert gpu_check.hidden({"CUDA_VISIBLE_DEVICES": named}) == Checked("gpu_hidden", NONE_VISIBLE)


@pytest.mark.parametrize("named", ["0", "1,0", "GPU-8932f937", "MIG-5d3b2f6e-6f0b-5d8c-9d0a-0f6f1c5f0b1a"])
def test_a_gpu_may_be_named_in_any_way_that_cuda_knows(named: str) -> None:
    assert gpu_check.hidden({"CUDA_VISIBLE_DEVICES": named}) is None
    assert gpu_check.hidden({}) is None


@pytest.fixture
def files() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1"):
            (Path(folder) / name).touch(0o666)
            (Path(folder) / name).chmod(0o666)
        yield Path(folder)


def test_a_device_file_that_is_missing_is_named(files: Path) -> None:
    assert gpu_check.closed(files) is None
    (files / "nvidia-uvm").unlink()
    found = gpu_check.closed(files)
    assert found is not None
    assert found.code == "gpu_no_device_file"
    assert "/dev/nvidia-uvm is missing" in (found.message or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
@pytest.mark.parametrize(
    ("shut", "named"),
    [(["nvidiactl"], "/dev/nvidiactl"), (["nvidia0", "nvidia1"], "/dev/nvidia0"), (["nvidia1"], None)],
)
def test_a_device_file_that_this_user_may_not_open_is_named(files: Path, shut: list[str], named: str | None) -> None:
    for name in shut:
        (files / name).chmod(0o600)
    with as_nobody():
        found = gpu_check.closed(files)
    assert (found is None) == (named is None)
    if found is not None:
        assert found.code == "gpu_not_permitted"
        assert f"may not open {named}." in (found.message or "")


def test_a_device_that_computes_is_told_from_one_that_is_not_there() -> None:
    assert gpu_check.right("cpu")
    assert gpu_check.check("cpu") == Checked()


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch is built for CUDA")
def test_a_torch_without_cuda_is_told_by_what_to_install() -> None:
    found = gpu_check.check("cuda")
    assert found.code == "gpu_torch"
    assert f"({torch.__version__}) is built for CPUs only" in (found.message or "")
    with pytest.raises(Unavailable, match="ALBATROSS_DEVICE=cpu"):
        gpu_check.require("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_where_there_is_no_gpu_no_figures_of_one_are_made_up() -> None:
    torch.zeros(8).sum()
    assert use() is None
    assert UseReports().due(Checked()) is None
