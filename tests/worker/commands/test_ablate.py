"""One knob turned, as a command: a job for every value, a table, a picture, and nothing done twice."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from core.backbones.record import BackboneRecord
from tests.worker.floor import register, run_module
from tests.worker.stages.conftest import QUICK, image_record, picture

Ablate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ablate(tiny_diffusion_folder: Path, tmp_path: Path) -> Ablate:
    """Return a function that turns a knob through values, always in the folder `out`."""
    return ablating(image_record(tiny_diffusion_folder, tmp_path), tmp_path, QUICK)


def ablating(record: BackboneRecord, tmp_path: Path, bat: dict[str, object]) -> Ablate:
    data = register(record, tmp_path / "data")
    for part, numbers in (("own", range(4)), ("other", range(4, 6))):
        (tmp_path / part).mkdir()
        for number in numbers:
            (tmp_path / part / f"{number}.png").write_bytes(picture(number))
    options = (
        "--backbone",
        "tiny",
        "--references",
        str(tmp_path / "own"),
        "--validation",
        str(tmp_path / "other"),
        "--out",
        str(tmp_path / "out"),
        "--bat",
        json.dumps(bat),
    )

    def run(which: str, values: str, *further: str) -> subprocess.CompletedProcess[str]:
        done = run_module("worker.commands.ablate", data, which, *options, "--values", values, *further)
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.mark.long
def test_every_value_is_a_job_and_the_picture_shows_them_all(ablate: Ablate, tmp_path: Path) -> None:
    done = ablate("gamma", "[0, 0.5]")
    rows = json.loads((tmp_path / "out/ablation.json").read_text())["rows"]
    assert [(row["value"], row["gamma"]) for row in rows] == [(0, 0.0), (0.5, 0.5)]
    assert all(row["forgetting"] is not None and len(row["heldout"]) > 2 for row in rows)
    assert done.stderr.count("surrogate  [") > 0
    assert "export" not in done.stderr  # which would only cost time
    assert "heldout_change" in done.stdout
    with Image.open(tmp_path / "out/ablation.png") as drawn:
        assert drawn.width > 500
    assert "train      [" not in ablate("gamma", "[0, 0.5]").stderr


@pytest.mark.long
def test_a_stage_is_borrowed_only_from_a_job_that_differs_in_nothing_but_the_value(ablate: Ablate) -> None:
    assert "surrogate  [" in ablate("folds", "[2]").stderr
    assert "surrogate  [" in ablate("gamma", "[0.5]").stderr  # two folds are another job's
    assert "surrogate  [" not in ablate("gamma", "[0.25]").stderr
    assert "surrogate  [" in ablate("gamma", "[0.75]", "--seed", "1").stderr


@pytest.mark.long
def test_means_are_turned_by_their_names(ablate: Ablate, tmp_path: Path) -> None:
    done = ablate("protect", '["none", "distil"]')
    rows = json.loads((tmp_path / "out/ablation.json").read_text())["rows"]
    assert [row["value"] for row in rows] == ["none", "distil"]
    assert rows[0]["gamma"] == 0.0
    assert done.stderr.count("surrogate  [") > 0


@pytest.mark.long
def test_without_a_pool_no_job_borrows_what_another_has_prepared_without_its_own_samples(
    tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    record = image_record(tiny_diffusion_folder, tmp_path).model_copy(update={"pool": None})
    done = ablating(record, tmp_path, QUICK | {"selected_count": "auto", "sample_ratio": "auto"})(
        "protect", '["none", "distil", "none"]'
    )
    none, distil, again = json.loads((tmp_path / "out/ablation.json").read_text())["rows"]
    assert (none["gamma"], none["forgetting"], distil["forgetting"] is None) == (0.0, None, False)
    assert again == none
    assert done.stderr.count("surrogate  [") > 0


def test_the_help_names_every_ablation(tmp_path: Path) -> None:
    told = run_module("worker.commands.ablate", tmp_path, "--help").stdout
    assert all(
        name in told for name in ("surrogate-steps", "gamma", "protect-weight", "sample-ratio", "window", "folds")
    )
