"""docs/moving-from-openai.md: every block of code in it does what the text says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.settings import Settings
from tests.api.server import chats
from tests.clients.plant import Plant, planted, said
from tests.conftest import free_port, running, until

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/moving-from-openai.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


def blocks(language: str) -> list[str]:
    return [block for kind, block in BLOCKS if kind == language]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with planted(tmp_path_factory.mktemp("moving")) as plant:
        yield plant


def test_every_block_is_run_by_a_test_below() -> None:
    leaving = ["python", "python", "sh", "python", "sh"]
    assert [kind for kind, _ in BLOCKS] == [*leaving, "python", "sh", "sh", "python", "sh", "sh", "python", "python"]


@pytest.mark.slow
def test_the_python_of_the_guide_works_from_top_to_bottom(plant: Plant, tmp_path: Path) -> None:
    (tmp_path / "chats.jsonl").write_bytes(chats())
    variables = plant.environment()
    code = "\n".join(blocks("python")[3:])
    for placeholder, real in (
        ("http://localhost:8000/v1", variables["OPENAI_BASE_URL"]),
        ("alb_...", variables["OPENAI_API_KEY"]),
    ):
        assert code.count(placeholder) == 1
        code = code.replace(placeholder, real)
    (tmp_path / "guide.py").write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{code}")
    lines = said([sys.executable, tmp_path / "guide.py"], {}).splitlines()
    assert lines[0].startswith("info The job succeeded")
    assert "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,cosine_similarity" in lines
    assert "Line 1 of tools.jsonl can't be used: call 1 of message 2 (assistant) has no name of a function" in lines[-2]
    assert lines[-1] == "True"
    assert (tmp_path / "adapter.zip").read_text() == "adapter"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_of_the_guide_works(plant: Plant, tmp_path: Path) -> None:
    (tmp_path / "chats.jsonl").write_bytes(chats())
    sending, streaming = blocks("sh")[4:]
    answers = shell(sending, tmp_path, plant.environment()).replace("}{", "}\n{").splitlines()
    file, jobs = map(json.loads, answers)
    assert file["status"] == "processed"
    assert jobs["object"] == "list"
    with plant.service.http() as http:
        body = {"model": "gpt-4o-mini-2024-07-18", "training_file": file["id"]}
        job = http.post("/v1/fine_tuning/jobs", json=body).json()["id"]
    told = shell(streaming, tmp_path, plant.environment())
    assert "data: [DONE]" in told
    rows = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: {")]
    assert rows[0]["message"] == "The job is queued."
    assert "succeeded" in rows[-1]["message"]
    after = {"Accept": "text/event-stream", "Last-Event-ID": rows[2]["id"]}
    with plant.service.http() as http:
        rest = http.get(f"/v1/fine_tuning/jobs/{job}/events", headers=after).text
    assert [json.loads(line[6:]) for line in rest.splitlines() if line.startswith("data: {")] == rows[3:]


@pytest.mark.slow
def test_the_service_of_the_guide_starts_with_its_aliases(tmp_path: Path) -> None:
    serving, making = blocks("sh")[2:4]
    address = f"http://127.0.0.1:{(port := free_port())}"
    variables = {"ALBATROSS_PORT": str(port)} | installed(tmp_path)
    with (tmp_path / "log").open("wb") as log:
        script = serving.replace("\nalbatross serve", "\nexec albatross serve")
        with running(["bash", "-ec", script], cwd=tmp_path, env={**os.environ, **variables}, stderr=log) as service:
            until(lambda: answers(address))
            key = shell(making, tmp_path, variables).splitlines()[-1]
            headers = {"Authorization": f"Bearer {key}"}
            error = httpx.get(f"{address}/v1/models/gpt-4o-mini-2024-07-18", headers=headers)
            body = {"model": "gpt-4.1-mini-2025-04-14", "training_file": "file-1"}
            refusal = httpx.post(f"{address}/v1/fine_tuning/jobs", headers=headers, json=body).json()["error"]
            service.terminate()
            service.wait(30)
    assert error.status_code == 404  # the backbone that it stands for is not prepared here
    assert "albatross backbones prepare smollm2-135m" in refusal["message"]


def installed(folder: Path) -> dict[str, str]:
    """Put the commands `albatross` and `python` into the folder; returns the variables that find them there."""
    for name, words in (("albatross", "-m api.cli"), ("python", "")):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        command.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def shell(script: str, folder: Path, variables: dict[str, str]) -> str:
    """Run a block with bash; returns what it prints."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", verify=False).status_code == 200
    except httpx.TransportError:
        return False


def test_the_limits_are_those_of_the_settings() -> None:
    limits = TEXT.partition("## Limits")[2].partition("## ")[0]
    fields = Settings.model_fields
    assert f"at most {fields['max_file_bytes'].default // 10**6} MB" in limits
    assert (
        f"a text file {fields['max_text_bytes'].default // 10**6} MB and {fields['max_items'].default:,} lines"
        in limits
    )
    assert f"{fields['active_job_limit'].default} active jobs" in limits
    assert f"makes {fields['jobs_per_minute'].default} a minute" in limits


def test_every_code_of_a_failed_job_is_one_that_the_service_gives() -> None:
    code = "\n".join(path.read_text() for room in ("core", "worker") for path in (ROOT / room).rglob("*.py"))
    codes = re.findall(r"`(\w+)`", TEXT.rpartition("that says what to do: ")[2])
    assert len(codes) == 13
    assert [name for name in codes if f'"{name}"' not in code] == []
