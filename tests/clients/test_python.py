"""Unmodified openai clients of three generations: scripts as their users write them, and every call's answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.plant import GENERATIONS, HERE, Plant

CALLS = {
    "files.create",
    "files.retrieve",
    "files.list",
    "files.delete",
    "fine_tuning.jobs.create",
    "fine_tuning.jobs.retrieve",
    "fine_tuning.jobs.list",
    "fine_tuning.jobs.cancel",
    "fine_tuning.jobs.pause",
    "fine_tuning.jobs.resume",
    "fine_tuning.jobs.list_events",
    "fine_tuning.jobs.checkpoints.list",
    "models.list",
    "models.retrieve",
    "models.delete",
    "paused",
}
OLDER = [pytest.param(generation, marks=pytest.mark.slow) for generation in GENERATIONS if generation != "3"]
each_generation = pytest.mark.parametrize("generation", [*OLDER, "3"])


@pytest.mark.long
@each_generation
@pytest.mark.parametrize(("kind", "strict"), [("sync", "strict"), ("async", "")])
def test_no_answer_differs_from_what_the_client_requires_but_for_the_status_paused(
    plant: Plant, chat_file: Path, generation: str, kind: str, strict: str
) -> None:
    told = json.loads(plant.python(generation, HERE / "tour.py", chat_file, kind, *strict.split()))
    assert told["version"] == GENERATIONS[generation]
    assert set(told["found"]) == CALLS
    [line] = told["found"].pop("paused")
    assert "status" in line
    assert "strict" in line if strict else line.startswith("FineTuningJob.status: 'paused' is none of")
    assert {name: lines for name, lines in told["found"].items() if lines} == {}


@pytest.mark.slow
def test_a_script_of_2024_goes_on_with_two_variables(plant: Plant, chat_file: Path) -> None:
    lines = plant.python("1", HERE / "python-1/migrate.py", chat_file).splitlines()
    assert lines[0].endswith("processed")
    assert "event info The job is queued." in lines
    assert any(line.startswith("event info The job succeeded") for line in lines)
    assert lines[-6:-5] == ["last loss 0.025"]
    assert [line.split()[:2] for line in lines[-5:-3]] == [["checkpoint", "40"], ["checkpoint", "20"]]
    assert lines[-3].startswith("model ft:tiny-texts:")
    assert lines[-2:] == ["epochs 3", "newest [True]"]


@pytest.mark.slow
def test_a_script_with_the_asynchronous_client_goes_on_with_one_line(plant: Plant, chat_file: Path) -> None:
    assert plant.python("2", HERE / "python-2/migrate.py", chat_file).splitlines() == [
        "expires in a day True",
        "cancelled cancelled",
        "paused paused",
        "resumed queued",
        "ended succeeded",
        "found both True",
        "found one True",
        "paged through all events True True",
        "checkpoints [40, 20]",
    ]


def test_a_script_of_today_goes_on_with_one_line(plant: Plant, chat_file: Path) -> None:
    address = plant.environment()["OPENAI_BASE_URL"]
    assert plant.python("3", HERE / "python-3/migrate.py", chat_file, address).splitlines() == [
        "listed True",
        "refused integrations True",
        "created queued 7 {'team': 'support'} 2",
        "ended succeeded",
        "events True",
        "results 3 step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy",
        "models True",
        "too late job_not_cancellable True",
        "not served True",
        "model deleted True",
        "file deleted True",
        "gone file_not_found",
    ]
