"""An adapter that does not pass its check is never published, and the job says which format and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.database.tables import Adapter, Artifact, Checkpoint, File
from core.storage.factory import storage
from tests.consumers import damaging_trainer
from tests.worker.floor import Floor, settings
from tests.worker.stages.conftest import QUICK, MakeJob, image_record, text_jobs
from worker.job_folder import JobFolder
from worker.protocol import Message
from worker.stages import run


@pytest.mark.slow
@pytest.mark.parametrize("form", ["kohya", pytest.param("merged", marks=pytest.mark.slow)])
def test_a_job_whose_file_was_damaged_fails_and_publishes_nothing(
    tiny_diffusion_folder: Path, tmp_path: Path, form: str
) -> None:
    trainer = f"{sys.executable} {damaging_trainer.__file__} {form}"
    chosen = settings(tmp_path / "data").model_copy(update={"trainer": trainer})
    migrate(chosen.database)
    engine = connect(chosen.database)
    floor = Floor(chosen, sessions(engine), storage(chosen))
    record = image_record(tiny_diffusion_folder, tmp_path).model_dump(mode="json")
    chosen.registry_file.write_text(json.dumps({"version": 1, "backbones": {"tiny": record}}))
    brief = {"max_steps": 4, "augment": False, "selected_count": "auto", "merged": form == "merged"}
    job_id = floor.job(backbone="tiny", bat=QUICK | brief)
    floor.supervise()
    job = floor.get(job_id)
    floor.trainer.discard()
    assert (job.state, job.error_code) == ("FAILED", "export_verification_failed")
    assert f"in {form} format did not pass its check: " in (job.error_message or "")
    assert floor.rows(Adapter, job_id) == []
    assert floor.rows(File, job_id) == []
    assert [row for row in floor.rows(Checkpoint, job_id) if row.labels] == []  # kept, and nothing more
    assert [row.name for row in floor.rows(Artifact, job_id) if row.kind == "result" or "export/" in row.name] == []
    engine.dispose()


@pytest.fixture
def make_text_job(tiny_language_folder: Path, tmp_path: Path) -> MakeJob:
    return text_jobs(tiny_language_folder, tmp_path)


@pytest.mark.slow
def test_a_text_job_without_a_place_in_llama_cpp_succeeds_with_the_other_formats_and_says_so(
    make_text_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.method.formats.gguf.ARCHITECTURES", {})
    folder: JobFolder = make_text_job()
    lines = list(run(folder))
    manifest = json.loads((folder.stage("export") / "manifest.json").read_text())
    assert [row["format"] for row in manifest["results"] if row.get("format")] == ["peft", "card"]
    assert "an adapter for llama was not tried" in manifest["outcome"]["formats_left_out"]["gguf"]
    [told] = [line for line in lines if isinstance(line, Message) and "no gguf file" in line.text]
    assert (told.stage, told.level) == ("export", "warn")
    assert not (folder.stage("export") / "adapter.gguf").exists()
    assert not (folder.stage("export") / "Modelfile").exists()
