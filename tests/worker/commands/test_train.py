"""The pipeline without a server, as a command."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.worker.floor import pictures, register, run_module
from tests.worker.stages.conftest import QUICK, image_record
from worker.commands import train


@pytest.mark.slow
def test_a_folder_of_pictures_becomes_an_adapter_and_a_reason(tiny_diffusion_folder: Path, tmp_path: Path) -> None:
    data = register(image_record(tiny_diffusion_folder, tmp_path), tmp_path / "data")
    (tmp_path / "cat.zip").write_bytes(pictures())
    with zipfile.ZipFile(tmp_path / "cat.zip") as archive:
        archive.extractall(tmp_path / "cat")
    out = tmp_path / "out"
    command = (
        "--backbone",
        "tiny",
        "--references",
        str(tmp_path / "cat"),
        "--out",
        str(out),
        "--bat",
        json.dumps(QUICK),
    )
    done = run_module("worker.commands.train", data, *command)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "report.json").read_text())["stop_reason"] in done.stdout
    assert (out / "peft/adapter_config.json").is_file()
    assert (out / "pytorch_lora_weights.safetensors").is_file()
    assert "train      [" in done.stderr
    again = run_module("worker.commands.train", data, *command)  # all stages are there: nothing is trained twice
    assert again.returncode == 0
    assert "train      [" not in again.stderr


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    done = run_module(
        "worker.commands.train",
        tmp_path,
        "--backbone",
        "none",
        "--references",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
    )
    assert done.returncode == 2
    assert done.stderr.startswith("albatross: There is no such backbone.")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("bat", "told"),
    [
        ("{", "it is not JSON"),
        ("7", "must be a JSON object"),
        ('{"max_steps": "many"}', 'max_steps: must be "auto" or a whole number'),
        ('{"max_stepz": 7}', "max_stepz: this parameter is not known (did you mean max_steps?)"),
    ],
)
def test_settings_that_cannot_be_used_are_named(bat: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--backbone", "emoji-ldm", "--references", "cats", "--out", "out", "--bat", bat]
    assert train.COMMANDS.run("albatross train", words) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "Invalid value for '--bat': " in shown
    assert told in shown


@pytest.mark.parametrize(
    ("references", "out", "validation", "told"),
    [
        ("cats", "cats/adapter", None, "--out lies in"),
        ("cats", "cats", None, "--out lies in"),
        ("cats", "out", "talk.jsonl", "The references are images, and the validation data is texts"),
        ("talk.jsonl", "out", None, "The backbone tiny learns from images, and these files hold texts"),
        ("empty", "out", None, "empty holds no references"),
        ("nowhere", "out", None, "nowhere: No such file or directory"),
    ],
)
def test_what_can_not_be_read_or_written_is_one_sentence(
    tiny_diffusion_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    references: str,
    out: str,
    validation: str | None,
    told: str,
) -> None:
    data = register(image_record(tiny_diffusion_folder, tmp_path), tmp_path / "data")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cats.zip").write_bytes(pictures())
    with zipfile.ZipFile(tmp_path / "cats.zip") as archive:
        archive.extractall(tmp_path / "cats")
    (tmp_path / "talk.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    words = ["--backbone", "tiny", "--references", str(tmp_path / references), "--out", str(tmp_path / out)]
    words += ["--data", str(data), *(["--validation", str(tmp_path / validation)] if validation else [])]
    assert train.COMMANDS.run("albatross train", words) == 2
    said = capsys.readouterr().err.strip().split("\n")[-1]
    assert said.startswith("albatross: ")
    assert told in said
