"""A job on the CPU, where torch has a GPU too: it never begins with it."""

from __future__ import annotations

from typing import NoReturn

import pytest
import torch

from core.method.backbones.profiler import Profiler
from core.parameters.schedule import STAGES
from tests.worker.stages.conftest import MakeJob
from worker.job_folder import JobFolder
from worker.protocol import Line, StageDone
from worker.stages import run
from worker.stages.costs import measured


@pytest.fixture
def idle_gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let torch say that there is one GPU; whatever begins to use it raises, and is noted."""
    begun: list[str] = []

    def begin() -> NoReturn:
        begun.append("begun")
        raise AssertionError("a job on the CPU has begun with the GPU")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_lazy_init", begin)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", begin)
    monkeypatch.setattr(torch._C, "_cuda_init", begin, raising=False)
    return begun


def devices(lines: list[Line]) -> list[object]:
    return [line.work["memory"]["device"] for line in lines if isinstance(line, StageDone) and line.work]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "text"])
def test_a_job_on_the_cpu_leaves_the_gpu_alone_and_tells_no_memory_of_it(
    kind: str, request: pytest.FixtureRequest, idle_gpu: list[str]
) -> None:
    make: MakeJob = request.getfixturevalue(f"make_{kind}_job")
    folder: JobFolder = make()
    assert folder.spec()["device"] == "cpu"
    assert devices(list(run(folder))) == [None] * len(STAGES)
    assert idle_gpu == []


def test_the_peak_of_a_stage_on_the_cpu_asks_no_gpu(idle_gpu: list[str]) -> None:
    with measured(Profiler(), "cpu") as report:
        torch.zeros(8).sum()
    assert report["memory"]["device"] is None
    assert idle_gpu == []
