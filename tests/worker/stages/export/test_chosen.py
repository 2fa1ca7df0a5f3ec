"""A kept step that its owner chose, exported out of the stages of the job that has kept it, on tiny backbones."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from safetensors.torch import load, load_file

from core.database.tables import Job
from core.errors import JobFailure
from core.jobs import publishing
from core.parameters.schedule import STAGES
from tests.worker.stages.conftest import image_jobs, text_jobs
from worker.job_folder import DONE, JobFolder, seal, write_json
from worker.protocol import Line, Message, Progress, StageDone
from worker.stages import run
from worker.stages.context import checkpoint_file


def read(folder: JobFolder, name: str):
    return json.loads((folder.path / name).read_text())


def other_step(folder: JobFolder) -> int:
    """A kept step that the job has not published."""
    outcome = read(folder, "export/manifest.json")["outcome"]
    kept = [row["step"] for row in read(folder, "export/manifest.json")["checkpoints"]]
    return next(step for step in kept if step != outcome["published_step"])


def copied(folder: JobFolder, name: str) -> JobFolder:
    """The stages of a job but the last, in a folder of their own."""
    other = JobFolder(folder.path.parent / name)
    for stage in STAGES[:-1]:
        shutil.copytree(folder.stage(stage), other.stage(stage))
    return other


def chosen(folder: JobFolder, step: int) -> JobFolder:
    """What a worker gives the trainer of a job that publishes the step; nothing to learn from is there."""
    other = copied(folder, "chosen")
    shutil.copytree(folder.stage("export"), other.source)
    outcome = read(folder, "export/manifest.json")["outcome"]
    told = publishing.taken_over(Job(id="ftjob-1", outcome=outcome), step)
    other.write_spec(folder.spec() | {"publish_step": step, "outcome": told})
    return other


def told_to_publish(folder: JobFolder, step: int) -> JobFolder:
    """The same job, had its rule named that step, and no samples been asked."""
    other = copied(folder, "oracle")
    shutil.copytree(folder.references, other.references)
    spec = folder.spec()
    other.write_spec(spec | {"parameters": spec["parameters"] | {"sample_prompts": []}})
    outcome = read(other, "train/outcome.json")
    kept = outcome["kept"] | {"published": step}
    write_json(other.stage("train") / "outcome.json", outcome | {"published_step": step, "kept": kept, "rule": "never"})
    (other.stage("train") / DONE).unlink()
    seal(other.stage("train"))
    return other


def tensors(path: Path) -> dict[str, bytes]:
    """All weights in a published file, by name."""
    if path.suffix == ".gguf":
        return {tensor.name: np.array(tensor.data).tobytes() for tensor in GGUFReader(path).tensors}
    if path.suffix == ".safetensors":
        return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
    with zipfile.ZipFile(path) as archive:
        files = [name for name in archive.namelist() if name.endswith(".safetensors")]
        found = [load(io.BytesIO(archive.read(name)).getvalue()) for name in files]
    return {name: tensor.numpy().tobytes() for part in found for name, tensor in part.items()}


Both = tuple[JobFolder, JobFolder, list[Line]]


@pytest.fixture(scope="module", params=["images", "texts"])
def published(
    request: pytest.FixtureRequest,
    tiny_diffusion_folder: Path,
    tiny_language_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Both:
    """A job that has ended, the job that publishes another of its steps, and what that one said."""
    place = tmp_path_factory.mktemp("chosen")
    jobs = {"images": (image_jobs, tiny_diffusion_folder), "texts": (text_jobs, tiny_language_folder)}
    make, backbone = jobs[request.param]
    folder = make(backbone, place)(merged=True)
    list(run(folder))
    other = chosen(folder, other_step(folder))
    return folder, other, list(run(other))


pytestmark = pytest.mark.slow


def test_every_file_holds_the_weights_of_the_chosen_step_and_not_of_the_published_one(published: Both) -> None:
    folder, other, _ = published
    step = other_step(folder)
    oracle = told_to_publish(folder, step)
    list(run(oracle))
    files = [row["file"] for row in read(other, "export/manifest.json")["results"] if row.get("format")]
    files.remove("card.json")
    assert len(files) >= 3
    for file in files:
        found = tensors(other.stage("export") / file)
        assert found == tensors(oracle.stage("export") / file)
        assert found != tensors(folder.stage("export") / file)
    assert tensors(other.stage("export") / "adapter-peft.zip") == tensors(folder.stage("train") / checkpoint_file(step))


def test_only_export_runs_and_it_loads_the_backbone_before_it_tells_of_itself(published: Both) -> None:
    _, _, lines = published
    assert [line.stage for line in lines if isinstance(line, StageDone)] == ["export"]
    places = [line.step for line in lines if isinstance(line, Progress)]
    assert places == sorted(places)
    assert any("Every file was loaded back" in line.text for line in lines if isinstance(line, Message))


def test_the_job_says_that_its_owner_chose_the_step_and_what_the_service_had_named(published: Both) -> None:
    folder, other, lines = published
    step, before = other_step(folder), read(folder, "export/manifest.json")["outcome"]
    outcome = read(other, "export/manifest.json")["outcome"]
    assert (outcome["published_step"], outcome["stop_rule"]) == (step, "owner")
    words = f"chose step {step} of those that were kept. The service had named step {before['published_step']}."
    assert words in outcome["stop_reason"]
    assert outcome["reasons"]["stop"] == outcome["stop_reason"]
    assert outcome.keys() == before.keys() | {"published_from"}
    assert {name for name in before if outcome[name] != before[name]} <= publishing.OF_THE_STEP | {"reasons"}
    assert "answers" not in outcome["reasons"]
    assert any(line.text == outcome["stop_reason"] for line in lines if isinstance(line, Message))


def test_the_card_is_that_of_the_source_with_what_is_so_of_the_step(published: Both) -> None:
    folder, other, _ = published
    before, card = read(folder, "export/card.json"), read(other, "export/card.json")
    differing = {name for name in card if card[name] != before.get(name)}
    assert differing == {"adapter", "outcome", "published_from"}
    assert card["adapter"] | {"sha256": None} == before["adapter"] | {"sha256": None}
    assert card["adapter"]["sha256"] != before["adapter"]["sha256"]
    assert card["published_from"]["named"]["step"] == before["outcome"]["published_step"]
    assert card["published_from"]["versions"] == before["versions"]


def test_its_samples_are_those_of_the_step_and_of_before_as_they_were_drawn(published: Both) -> None:
    folder, other, _ = published
    step = other_step(folder)
    before = {row["id"]: row for row in read(folder, "export/samples.json")}
    rows = read(other, "export/samples.json")
    assert {row["step"] for row in rows} == {0, step}
    assert all("published" in row["labels"] for row in rows if row["step"] == step)
    for row in rows:
        assert {**row, "labels": None} == {**before[row["id"]], "labels": None}
        for file in {row.get("image"), row.get("thumbnail")} - {None}:
            assert (other.stage("export") / file).read_bytes() == (folder.stage("export") / file).read_bytes()


def test_its_one_checkpoint_is_a_copy_of_its_own(published: Both) -> None:
    folder, other, _ = published
    [kept] = read(other, "export/manifest.json")["checkpoints"]
    before = {row["step"]: row for row in read(folder, "export/manifest.json")["checkpoints"]}[kept["step"]]
    assert kept["file"].startswith("export/")
    assert "published" in kept["labels"]
    assert kept["metrics"] == before["metrics"]
    assert (other.path / kept["file"]).read_bytes() == (folder.path / before["file"]).read_bytes()


def test_what_is_read_of_it_later_lies_in_its_last_stage(published: Both) -> None:
    folder, other, _ = published
    for name in ("influence.json", "decision.json"):
        assert read(other, f"export/{name}") == read(folder, f"score/{name}")
    assert (other.stage("export") / "metrics.csv").read_bytes() == (folder.stage("export") / "metrics.csv").read_bytes()


def test_another_revision_of_the_backbone_is_refused(published: Both) -> None:
    folder, other, _ = published
    again = copied(folder, f"again-{other.path.name}")
    shutil.copytree(other.source, again.source)
    spec = other.spec()
    again.write_spec(spec | {"backbone": spec["backbone"] | {"revision": "another"}})
    with pytest.raises(JobFailure, match="another revision") as refused:
        list(run(again))
    assert refused.value.code == "backbone_unavailable"
