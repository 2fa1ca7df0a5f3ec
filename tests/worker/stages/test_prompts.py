"""What prompts say is written down by the first stage: later ones train and draw without text encoders."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from core.parameters.schedule import STAGES
from tests.worker.stages.conftest import MakeJob, image_jobs
from worker.job_folder import JobFolder, seal
from worker.protocol import StageDone
from worker.stages import context, run
from worker.stages.context import PROMPTS_FILE, Context

pytestmark = pytest.mark.slow
SHORT = {"augment": False, "selected_count": "auto", "max_steps": 3, "surrogate_steps": 3}


def prepared(folder: JobFolder) -> JobFolder:
    """Run the first stage, as a process that is gone when the next begins."""
    lines = run(folder)
    assert next(line.stage for line in lines if isinstance(line, StageDone)) == "prepare"
    lines.close()
    context._loaded.clear()
    return folder


def made(folder: JobFolder) -> tuple[str, list[bytes]]:
    """Run the rest of a job; returns the hash of its adapter and its pictures."""
    list(run(folder))
    assert folder.finished() == list(STAGES)
    export = folder.stage("export")
    samples = json.loads((export / "samples.json").read_text())
    card = json.loads((export / "card.json").read_text())
    return card["adapter"]["sha256"], [(export / row["image"]).read_bytes() for row in samples]


@pytest.fixture(scope="module")
def backbone(tiny_diffusion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_diffusion_folder, tmp_path_factory.mktemp("own") / "backbone"))


@pytest.fixture(scope="module")
def make(backbone: Path) -> MakeJob:
    return partial(image_jobs(backbone, backbone.parent), **SHORT)


@pytest.fixture(scope="module")
def wanted(make: MakeJob) -> tuple[str, list[bytes]]:
    return made(make("whole"))


def test_after_the_first_stage_a_job_needs_no_text_encoder_and_ends_the_same(
    make: MakeJob, wanted: tuple[str, list[bytes]], backbone: Path
) -> None:
    assert len(wanted[1]) > 4
    folder = prepared(make("parted"))
    (backbone / "text_encoder").rename(backbone / "gone")
    try:
        assert made(folder) == wanted
    finally:
        (backbone / "gone").rename(backbone / "text_encoder")


def test_a_job_that_an_older_version_prepared_encodes_its_prompts_when_it_needs_them(
    make: MakeJob, wanted: tuple[str, list[bytes]]
) -> None:
    folder = prepared(make("old"))
    (folder.stage("prepare") / PROMPTS_FILE).unlink()
    seal(folder.stage("prepare"))
    assert made(folder) == wanted


def test_a_job_holds_its_own_prompts_and_not_those_of_the_job_before(make: MakeJob) -> None:
    for words in ("a boat", "a house"):
        folder = make(words, sample_prompts=[words])
        lines = run(folder)
        assert any(isinstance(line, StageDone) for line in lines)
        lines.close()
        held = Context(folder).backbone.prompts.held
        assert {None, words, "a dog"} == held
