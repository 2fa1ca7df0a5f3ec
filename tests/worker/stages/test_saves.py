"""A job that is stopped, or killed, at any step ends as one that never was: bit for bit."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.worker.floor import ROOT
from tests.worker.stages.conftest import MakeJob
from worker.job_folder import JobFolder
from worker.protocol import Line, Metrics, Progress, Saved
from worker.stages import run
from worker.stages.saves import StageKeeper, fingerprint

# what may differ between two equal runs: times, and the order in a header or an archive
UNSTEADY = {"card.json", "report.json", "manifest.json", "adapter-peft.zip", "done.json"}
STAGES = ("surrogate", "score", "trial", "train")
RUNNER = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from worker.job_folder import JobFolder
from worker.stages import run
for line in run(JobFolder(Path(sys.argv[1]))):
    print(type(line).__name__, flush=True)
"""


def results(folder: JobFolder) -> dict[str, object]:
    """Everything that the stages have written, by name; tensors by their bytes, since file headers have no order."""
    return {
        str(path.relative_to(folder.path)): content(path)
        for stage in (*STAGES, "export")
        for path in sorted(folder.stage(stage).rglob("*"))
        if path.is_file() and path.name not in UNSTEADY
    }


def content(path: Path) -> object:
    if path.suffix != ".safetensors":
        return path.read_bytes()
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}


def same(one: JobFolder, other: JobFolder) -> None:
    first, second = results(one), results(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert any(name.startswith("train/snapshots/") for name in first)


def told(lines: list[Line], stage: str) -> list[int]:
    return [row["step"] for line in lines if isinstance(line, Metrics) and line.stage == stage for row in line.rows]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("images", marks=pytest.mark.slow), "texts"])
def test_a_job_that_is_stopped_after_every_few_lines_gives_the_same_files(
    make_image_job: MakeJob, make_text_job: MakeJob, kind: str
) -> None:
    make = make_image_job if kind == "images" else make_text_job
    whole, parts = make("whole", gamma="auto"), make("parts", gamma="auto")
    at_once = list(run(whole))
    chosen, lines, stops = random.Random(1), list[Line](), 0
    while not parts.done("export"):
        amount, work = chosen.randrange(3, 9), run(parts)
        for line in work:
            lines.append(line)
            amount -= 1
            if amount <= 0 and (isinstance(line, Metrics) or (isinstance(line, Progress) and line.stage == "score")):
                work.close()
                stops += 1
                break
    assert stops > 8
    same(whole, parts)
    for stage in ("surrogate", "trial", "train"):  # no point of a curve is lost or told twice
        assert told(lines, stage) == told(at_once, stage)


@pytest.mark.slow
def test_a_job_that_draws_lines_of_captions_gives_the_same_files_after_stops(make_lined_job: MakeJob) -> None:
    whole, parts, first = (
        make_lined_job("whole"),
        make_lined_job("parts"),
        make_lined_job("first", caption_lines="first"),
    )
    list(run(whole))
    while not parts.done("export"):
        work = run(parts)
        rows = (line for line in work if isinstance(line, Metrics))
        for _ in zip(rows, range(3), strict=False):
            pass
        work.close()
    same(whole, parts)
    list(run(first))
    assert results(whole) != results(first)  # lines were drawn


@pytest.mark.slow
def test_a_job_that_is_killed_at_random_steps_gives_the_same_files(make_text_job: MakeJob) -> None:
    whole, killed = make_text_job("whole"), make_text_job("killed")
    spec = killed.spec()
    killed.write_spec(spec | {"save_seconds": 0.0})
    list(run(whole))
    chosen, kills = random.Random(2), 0
    while not killed.done("export"):
        command = [sys.executable, "-c", RUNNER, str(killed.path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in zip(process.stdout, range(chosen.randrange(15, 40)), strict=False):
                pass
            time.sleep(chosen.random() / 50)
            kills += process.poll() is None
            process.kill()
        assert kills < 40
    assert kills >= 3
    same(whole, killed)


def test_saves_hold_no_pickle_and_only_the_newest_two_are_kept(make_text_job: MakeJob) -> None:
    folder = make_text_job()
    folder.write_spec(folder.spec() | {"save_seconds": 0.0})
    work = run(folder)
    for line in work:
        if isinstance(line, Saved) and line.stage == "train" and len(list((folder.path / "saves").iterdir())) == 2:
            break
    work.close()
    files = [path for path in (folder.path / "saves").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert any("kept" in path.parts for path in files)


def test_a_damaged_save_is_passed_over_for_the_one_before(make_text_job: MakeJob) -> None:
    folder = make_text_job()
    folder.write_spec(folder.spec() | {"save_seconds": 0.0})
    work = run(folder)
    saves = 0
    for line in work:
        saves += isinstance(line, Saved) and line.stage == "train"
        if saves == 3:
            break
    work.close()
    newest = folder.saved("train")
    assert newest is not None
    content = (newest / "tensors.safetensors").read_bytes()
    (newest / "tensors.safetensors").write_bytes(content[:-8] + b"damaged!")
    before = folder.saved("train")
    assert before is not None
    assert before != newest
    assert StageKeeper(folder, "train", 60).found() is not None


def test_a_save_of_other_settings_is_not_gone_on_from(make_text_job: MakeJob) -> None:
    folder = make_text_job()
    work = run(folder)
    for line in work:
        if isinstance(line, Metrics) and line.stage == "surrogate" and line.rows[0]["step"] == 2:
            break
    work.close()
    assert StageKeeper(folder, "surrogate", 60).found() is not None
    spec = folder.spec()
    spec["parameters"]["learning_rate"] *= 2
    folder.write_spec(json.loads(json.dumps(spec)))
    assert StageKeeper(folder, "surrogate", 60).found() is None


def test_a_save_of_before_there_were_settings_of_memory_is_gone_on_from(make_text_job: MakeJob) -> None:
    folder = make_text_job()
    whole = folder.spec()
    saved = fingerprint(folder)
    older = dict(whole["parameters"])
    for name in ("precision", "checkpointing", "gradients"):
        del older[name]
    for changes, taken in [
        (older, True),
        (whole["parameters"] | {"checkpointing": True, "gradients": "groups"}, True),  # the same numbers
        (whole["parameters"] | {"precision": "int8"}, False),
    ]:
        folder.write_spec(whole | {"parameters": changes})
        assert (fingerprint(folder) == saved) is taken, changes


@pytest.mark.slow
def test_a_run_that_a_version_with_other_rules_left_begins_anew_and_its_curve_with_it(make_text_job: MakeJob) -> None:
    whole, folder = make_text_job("whole"), make_text_job("left")
    list(run(whole))
    work = run(folder)
    for line in work:
        if isinstance(line, Metrics) and line.stage == "train" and line.rows[0]["step"] == 5:
            break
    work.close()
    keeper = StageKeeper(folder, "train", 60)
    state = keeper.found()
    assert state is not None
    assert [row["step"] for row in keeper.beside["rows"]] == list(range(6))
    del state.values["run"]["gallery"]  # it did not say which steps it keeps
    keeper.leave(lambda: state)
    list(run(folder))
    same(whole, folder)


@pytest.mark.slow
def test_a_finished_stage_leaves_no_saves(make_text_job: MakeJob, tmp_path: Path) -> None:
    folder = make_text_job()
    folder.write_spec(folder.spec() | {"save_seconds": 0.0})
    assert {line.stage for line in run(folder) if isinstance(line, Saved)} == set(STAGES)
    assert not (folder.path / "saves").exists()
