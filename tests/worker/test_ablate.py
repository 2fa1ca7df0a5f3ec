"""One knob turned, as a command: a job for every value, a table, a picture, and nothing done twice."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from tests.worker.floor import register, run_module
from tests.worker.stages.conftest import (  # noqa: F401 (fixtures)
    QUICK,
    _one_thread,
    image_record,
    picture,
    tiny_diffusion_folder,
)


def test_every_value_is_a_job_and_the_picture_shows_them_all(
    tiny_diffusion_folder: Path, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    data = register(image_record(tiny_diffusion_folder, tmp_path), tmp_path / "data")
    for part, numbers in (("own", range(4)), ("other", range(4, 6))):
        (tmp_path / part).mkdir()
        for number in numbers:
            (tmp_path / part / f"{number}.png").write_bytes(picture(number))
    command = (
        "gamma", "--backbone", "tiny", "--references", str(tmp_path / "own"), "--validation", str(tmp_path / "other"),
        "--out", str(tmp_path / "out"), "--bat", json.dumps(QUICK), "--values", "[0, 0.5]",
    )  # fmt: skip
    done = run_module("worker.ablate", data, *command)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out/ablation.json").read_text())["rows"]
    assert [(row["value"], row["gamma"]) for row in rows] == [(0, 0.0), (0.5, 0.5)]
    assert all(row["forgetting"] is not None and len(row["heldout"]) > 2 for row in rows)
    assert done.stderr.count("surrogate  [") > 0
    assert "heldout_change" in done.stdout
    with Image.open(tmp_path / "out/ablation.png") as drawn:
        assert drawn.width > 500
    again = run_module("worker.ablate", data, *command)
    assert again.returncode == 0
    assert "train      [" not in again.stderr


def test_the_help_names_every_ablation(tmp_path: Path) -> None:
    told = run_module("worker.ablate", tmp_path, "--help").stdout
    assert all(name in told for name in ("surrogate-steps", "gamma", "sample-ratio", "window", "folds"))
