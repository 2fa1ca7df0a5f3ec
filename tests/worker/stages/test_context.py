from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.method.backbones.images.diffusion import DiffusionBackbone
from tests.worker.stages.conftest import image_record, maker, picture
from worker.protocol import Message
from worker.stages.context import Context, ProgressClock, driven


def clock(*times: float):
    return iter(times).__next__


def test_a_stage_says_how_long_the_rest_takes_from_its_own_steps() -> None:
    pace = ProgressClock("train", 10, clock(0, 2, 4))
    assert pace.at(1).eta_seconds == 18
    assert pace.at(2).eta_seconds == 16


def test_many_steps_at_once_are_many_steps() -> None:
    assert ProgressClock("score", 100, clock(0, 5)).at(50).eta_seconds == 5


def test_only_the_last_steps_count() -> None:
    pace = ProgressClock("train", 100, clock(0, 1000, *range(1001, 1041)))
    for step in range(1, 41):
        told = pace.at(step)
    assert told.eta_seconds == 60


def test_before_a_step_is_timed_nothing_is_promised() -> None:
    assert ProgressClock("train", 10, clock(0, 1)).at(0).eta_seconds is None


def test_a_cancelled_stage_closes_the_method_below_it() -> None:
    closed = []

    def steps() -> Iterator[int]:
        try:
            yield from range(5)
        finally:
            closed.append(True)

    lines = driven(steps(), lambda step: [Message("train", str(step))])
    assert next(lines).text == "0"
    lines.close()
    assert closed == [True]


def test_what_the_method_returns_is_what_the_stage_gets() -> None:
    def steps():
        yield 1
        return "result"

    lines = driven(steps(), lambda step: [])
    with pytest.raises(StopIteration) as done:
        next(lines)
    assert done.value.value == "result"


def test_pictures_are_drawn_in_the_steps_that_a_backbone_is_registered_with(
    tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "cat.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}.png", picture(number))
            archive.writestr(f"{number}.txt", f"cat {number}")
    record = image_record(tiny_diffusion_folder, tmp_path).model_copy(update={"defaults": {}})
    usual = Context(maker(record, packed, tmp_path)("usual")).backbone
    few = record.model_copy(update={"id": "few", "defaults": {"sample_steps": 4, "guidance": 0.0}})
    backbone = Context(maker(few, packed, tmp_path)("few")).backbone
    assert isinstance(usual, DiffusionBackbone)
    assert isinstance(backbone, DiffusionBackbone)
    assert (usual.steps, usual.guidance) == (20, 3.0)
    assert (backbone.steps, backbone.guidance) == (4, 0.0)
    [image] = backbone.sample(["a cat"], seed=0)
    assert image.size == (16, 16)
