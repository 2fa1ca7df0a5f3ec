"""The real trainer process: torch on one side of a pipe, none on the other."""

from __future__ import annotations

import json
from pathlib import Path

from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.database.tables import Adapter, Artifact
from core.storage.factory import storage
from tests.worker.floor import Floor, settings
from tests.worker.stages.conftest import QUICK, image_record


def test_the_real_trainer_takes_jobs_to_their_end_and_keeps_its_backbone(
    tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    chosen = settings(tmp_path / "data").model_copy(update={"trainer": None, "stall_seconds": 60.0})
    migrate(chosen.database)
    engine = connect(chosen.database)
    floor = Floor(chosen, sessions(engine), storage(chosen))
    record = image_record(tiny_diffusion_folder, tmp_path).model_dump(mode="json")
    chosen.registry_file.write_text(json.dumps({"version": 1, "backbones": {"tiny": record}}))
    pids = set()
    for _ in range(2):
        job_id = floor.job(backbone="tiny", bat=QUICK)
        floor.supervise()
        job = floor.get(job_id)
        assert job.state == "SUCCEEDED", job.error_message
        assert job.outcome["stop_reason"] in floor.events(job_id)
        assert len(floor.rows(Adapter, job_id)) == 1
        names = {artifact.name for artifact in floor.rows(Artifact, job_id)}
        assert {"score/influence.json", "export/samples.json", "export/adapter-peft.zip"} <= names
        pids.add(floor.trainer.take(f"tiny {record['revision']}").pid)
    assert len(pids) == 1
    floor.trainer.discard()
    engine.dispose()
