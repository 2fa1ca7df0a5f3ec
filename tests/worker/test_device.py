"""Which GPU a worker has, told without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import Settings
from worker.device import device, gpu_name
from worker.trainer.process import environment, fixed
from worker.trainer.sandbox import Cage, devices

A100, H100 = "GPU-aaaa1111-2222-3333-4444-555566667777", "GPU-bbbb1111-2222-3333-4444-555566667777"


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """What the driver tells of two GPUs of different models, in the order of their places on the bus."""
    for place, model, uuid in (("0000:17:00.0", "NVIDIA A100", A100), ("0000:65:00.0", "NVIDIA H100", H100)):
        folder = tmp_path / "gpus" / place
        folder.mkdir(parents=True)
        (folder / "information").write_text(
            f"Model: \t\t {model}\nIRQ:   \t\t 62\nGPU UUID: \t {uuid}\nDevice Minor: \t 0\n"
        )
    return tmp_path


@pytest.mark.parametrize(
    ("named", "order", "name"),
    [
        (None, None, "NVIDIA A100"),
        ("1", None, "NVIDIA H100"),
        ("1,0", "PCI_BUS_ID", "NVIDIA H100"),
        ("GPU-bbbb", None, "NVIDIA H100"),
        (A100, "FASTEST_FIRST", "NVIDIA A100"),
        ("GPU-", None, None),  # more than one begins so
        (f"MIG-{H100}/3/0", None, "NVIDIA H100 MIG"),
        ("MIG-cccc1111-2222-3333-4444-555566667777", None, None),  # of which of both is not said
        ("1", "FASTEST_FIRST", None),
        ("2", None, None),
        ("", None, None),
        ("-1", None, None),
    ],
)
def test_the_gpu_is_the_one_that_cuda_counts_first(
    driver: Path, named: str | None, order: str | None, name: str | None
) -> None:
    given = {"CUDA_VISIBLE_DEVICES": named, "CUDA_DEVICE_ORDER": order}
    assert gpu_name({key: value for key, value in given.items() if value is not None}, driver) == name


def test_of_gpus_that_are_alike_any_order_and_part_tells_the_model(driver: Path) -> None:
    for file in driver.glob("gpus/*/information"):
        file.write_text("Model: NVIDIA H200\n")
    assert gpu_name({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, driver) == "NVIDIA H200"
    assert gpu_name({"CUDA_VISIBLE_DEVICES": "MIG-cccc1111-2222-3333-4444-555566667777"}, driver) == "NVIDIA H200 MIG"


def test_a_gpu_without_its_device_file_is_still_the_device(driver: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert device(Settings(data=tmp_path), empty, empty) == "cpu"
    assert device(Settings(data=tmp_path), empty, driver) == "cuda"
    (empty / "nvidia0").touch()
    assert device(Settings(data=tmp_path), empty, tmp_path / "none") == "cuda"


def test_a_trainer_on_a_gpu_has_the_operators_choices_or_ours(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, device="cuda")
    ours = fixed(settings, {})
    assert ours["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert ours["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    chosen = {
        "CUDA_VISIBLE_DEVICES": "MIG-cccc1111-2222-3333-4444-555566667777",
        "CUDA_DEVICE_ORDER": "FASTEST_FIRST",
        "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64",
    }
    kept = environment(settings, Cage(tmp_path), {**chosen, "AWS_SECRET_ACCESS_KEY": "canary"})
    assert kept | chosen == kept
    assert not {"PYTORCH_ALLOC_CONF", "AWS_SECRET_ACCESS_KEY"} & kept.keys()


def test_a_trainer_on_the_cpu_sees_no_gpu(tmp_path: Path) -> None:
    kept = environment(Settings(data=tmp_path, device="cpu"), Cage(tmp_path), {"CUDA_VISIBLE_DEVICES": "0"})
    assert kept["CUDA_VISIBLE_DEVICES"] == ""
    assert "PYTORCH_ALLOC_CONF" not in kept


def test_a_sandbox_lets_in_what_a_part_of_a_gpu_asks_for(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidiactl", "null"):
        (tmp_path / name).touch()
    (tmp_path / "nvidia-caps").mkdir()
    bound = {word for word in devices(tmp_path) if word != "--dev-bind"}
    assert bound == {str(tmp_path / name) for name in ("nvidia0", "nvidiactl", "nvidia-caps")}
