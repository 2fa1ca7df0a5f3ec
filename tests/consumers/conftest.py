"""One image job and one text job, run to their ends with every format; only to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worker.stages.conftest import image_jobs, text_jobs
from worker.job_folder import JobFolder
from worker.stages import run

TEXT_HUB_NAME = "example/tiny-llama"  # of the text job's backbone; the image job's has none


@pytest.fixture(scope="session")
def image_job(tiny_diffusion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    folder = image_jobs(tiny_diffusion_folder, tmp_path_factory.mktemp("images"))(merged=True)
    list(run(folder))
    return folder


@pytest.fixture(scope="session")
def text_job(tiny_language_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    folder = text_jobs(tiny_language_folder, tmp_path_factory.mktemp("texts"), hub_name=TEXT_HUB_NAME)(merged=True)
    list(run(folder))
    return folder
