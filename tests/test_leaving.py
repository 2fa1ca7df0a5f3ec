"""The first half of docs/moving-from-openai.md: what is to be saved is saved, trained on and compared."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.backbones.record import describe
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter
from core.recording.answers import rows_of
from demo.old_model.endpoint import Body, ChatEndpoint, Said, Trouble, serving
from tests.api.server import chats
from tests.clients.plant import Plant, planted, said
from tests.test_moving import blocks, installed, shell
from tests.tiny_backbones import LLAMA_TARGETS
from tests.worker.floor import register

OLD = "ft:gpt-4o-mini-2024-07-18:acme::A1b2C3d4"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with planted(tmp_path_factory.mktemp("leaving")) as plant:
        yield plant


def answer(body: Body) -> Said:
    return Said(f"arr, {body['messages'][-1]['content']}")


def saved_by_the_guide(folder: Path, variables: dict[str, str]) -> list[str]:
    (folder / "save.py").write_text(f"import os\nos.chdir({str(folder)!r})\n" + "\n".join(blocks("python")[:2]))
    return said([sys.executable, folder / "save.py"], variables).splitlines()


@pytest.mark.slow
def test_jobs_with_their_files_events_and_checkpoints_are_saved(plant: Plant, tmp_path: Path) -> None:
    client = plant.service.openai()
    file = client.files.create(file=("old.jsonl", chats()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="tiny-texts", training_file=file.id, suffix="old")
    while job.status not in ("succeeded", "failed"):
        job = client.fine_tuning.jobs.retrieve(job.id)
    told = saved_by_the_guide(tmp_path, plant.environment())
    assert told[-2:] == ["1 jobs saved", "there are no evals any more"]
    kept = tmp_path / "saved"
    assert (kept / file.id).read_bytes().count(b"Arr, west.") == 4
    assert json.loads((kept / "jobs.jsonl").read_text())["id"] == job.id
    assert "succeeded" in (kept / f"events-{job.id}.jsonl").read_text()
    assert len((kept / f"checkpoints-{job.id}.jsonl").read_text().splitlines()) == 2
    assert all((kept / result).stat().st_size for result in job.result_files)


def test_evals_and_dates_are_saved_where_there_are_any(tmp_path: Path) -> None:
    facts = {"created_at": 0, "name": "arr", "metadata": {}}
    lists = {
        "/v1/fine_tuning/jobs": [],
        "/v1/evals": [{"id": "eval_1", "object": "eval", "testing_criteria": [], "data_source_config": {}, **facts}],
        "/v1/evals/eval_1/runs": [{"id": "run_1", "object": "eval.run", "result_counts": {"passed": 9}, **facts}],
        "/v1/evals/eval_1/runs/run_1/output_items": [{"id": "item_1", "object": "eval.run.output_item", **facts}],
    }
    with serving(ChatEndpoint(OLD, answer, lists=lists)) as old:
        told = saved_by_the_guide(tmp_path, {"OPENAI_BASE_URL": old.address, "OPENAI_API_KEY": "k"})
    assert told == [f"{OLD} 2027-01-14", "0 jobs saved", "1 evals saved"]
    assert json.loads((tmp_path / "saved/runs-eval_1.jsonl").read_text())["result_counts"]["passed"] == 9
    assert json.loads((tmp_path / "saved/items-run_1.jsonl").read_text())["id"] == "item_1"


@pytest.mark.slow
def test_what_the_guide_records_is_taken_by_an_upload_and_trains_a_job(plant: Plant, tmp_path: Path) -> None:
    record(tmp_path)
    code = blocks("python")[2]
    variables = plant.environment()
    code = code.replace("http://localhost:8000/v1", variables["OPENAI_BASE_URL"])
    code = code.replace("alb_...", variables["OPENAI_API_KEY"])
    (tmp_path / "train.py").write_text(f"import os, openai\nos.chdir({str(tmp_path)!r})\n{code}\nprint(job.id)")
    told = said([sys.executable, tmp_path / "train.py"], {}).splitlines()
    marks = [row["recorded"]["left_out"] for row in rows_of(tmp_path / "answers.jsonl")]
    held = marks.count("held_out")
    assert 0 < held < len(marks) == 20
    assert any(f"{held} recorded answers are left out of training: {held} as held_out." in line for line in told)
    job = plant.service.openai().fine_tuning.jobs.retrieve(told[-1])
    assert job.training_file.startswith("file-")


@pytest.mark.long
def test_the_comparison_of_the_guide_writes_its_page(
    tiny_language: LanguageBackbone, tiny_language_folder: Path, tmp_path: Path
) -> None:
    record(tmp_path)
    made = tiny_language.lora.new(2, 2.0)
    up = {path: torch.full_like(matrix, 0.02) for path, matrix in made.up.items()}
    tiny_language.lora.save(Adapter(2, 2.0, made.down, up), tmp_path / "peft", "tiny")
    with zipfile.ZipFile(tmp_path / "adapter.zip", "w") as archive:
        for file in (tmp_path / "peft").iterdir():
            archive.write(file, file.name)
    backbone = describe("tiny", tiny_language_folder, licence="CC0", target_modules=LLAMA_TARGETS)
    data = register(backbone, tmp_path / "data")
    variables = {"ALBATROSS_DATA": str(data), "BACKBONE": "tiny", **installed(tmp_path)}
    told = shell(blocks("sh")[1], tmp_path, variables)
    assert "questions (held out) the loss a token" in told
    assert f"tiny with adapter, beside {OLD}" in (tmp_path / "comparison/index.html").read_text()


def record(folder: Path) -> None:
    """Run the commands of the guide that record, against an endpoint that limits, fails and cuts."""
    rows = [{"messages": [{"role": "user", "content": f"where is ship {n}?"}]} for n in range(20)]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    troubles = (Trouble.LIMIT, Trouble.FAIL, Trouble.CUT)
    with serving(ChatEndpoint(OLD, answer, key="k", troubles=troubles, share=0.3, wait=0.05)) as old:
        where = {"OPENAI_BASE_URL": old.address, "OPENAI_API_KEY": "k", "OLD_MODEL": OLD}
        told = shell(blocks("sh")[0], folder, where | installed(folder) | {"ALBATROSS_DATA": str(folder / "none")})
    assert "20 prompts with 1 answer each; 0 recorded." in told
    assert "20 of 20 answers are in answers.jsonl." in told
