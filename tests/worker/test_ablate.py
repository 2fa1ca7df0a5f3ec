"""One knob turned, as a command: a job for every value, a table, a picture, and nothing done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from core.settings import Settings
from tests.worker.floor import ROOT
from tests.worker.stages.conftest import (  # noqa: F401 (fixtures)
    QUICK,
    _one_thread,
    image_record,
    picture,
    tiny_diffusion_folder,
)


def ablate(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker.ablate", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=180,
        env={**os.environ, "ALBATROSS_DATA": str(data)},
    )  # fmt: skip


def test_every_value_is_a_job_and_the_picture_shows_them_all(
    tiny_diffusion_folder: Path, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    settings = Settings(data=tmp_path / "data")
    settings.data.mkdir()
    record = image_record(tiny_diffusion_folder, tmp_path).model_dump(mode="json")
    settings.registry_file.write_text(json.dumps({"version": 1, "backbones": {"tiny": record}}))
    for part, numbers in (("own", range(4)), ("other", range(4, 6))):
        (tmp_path / part).mkdir()
        for number in numbers:
            (tmp_path / part / f"{number}.png").write_bytes(picture(number))
    command = (
        "gamma", "--backbone", "tiny", "--references", str(tmp_path / "own"), "--validation", str(tmp_path / "other"),
        "--out", str(tmp_path / "out"), "--bat", json.dumps(QUICK), "--values", "[0, 0.5]",
    )  # fmt: skip
    done = ablate(settings.data, *command)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out/ablation.json").read_text())["rows"]
    assert [(row["value"], row["gamma"]) for row in rows] == [(0, 0.0), (0.5, 0.5)]
    assert all(row["forgetting"] is not None and len(row["heldout"]) > 2 for row in rows)
    assert done.stderr.count("surrogate  [") > 0
    assert "heldout_change" in done.stdout
    with Image.open(tmp_path / "out/ablation.png") as drawn:
        assert drawn.width > 500
    again = ablate(settings.data, *command)
    assert again.returncode == 0
    assert "train      [" not in again.stderr


def test_the_help_names_every_ablation() -> None:
    told = ablate(Path("/nonexistent"), "--help").stdout
    assert all(name in told for name in ("surrogate-steps", "gamma", "sample-ratio", "window", "folds"))
