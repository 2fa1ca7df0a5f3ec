"""The recipe of the flow-matching backbone, from the first step to a folder that is brought and draws."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from core.backbones.record import describe
from core.disk import ROOT
from core.method.backbones.images.diffusion import DiffusionBackbone
from demo.emoji_ldm.prepare import LICENCE
from tests.api.server import png

NAMES = ("red_heart", "dog_face", "red_apple", "tulip")


def write_pool(folder: Path) -> Path:
    folder.mkdir()
    rows = [
        {
            "id": name,
            "file": f"{name}.png",
            "caption": f"emoji of {name.replace('_', ' ')}",
            "source": "Animals & Nature/animal-mammal",
            "licence": LICENCE,
            "split": "candidate",
        }
        for name in NAMES
    ]
    (folder / "index.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for number, row in enumerate(rows):
            archive.writestr(row["file"], png(number, side=64))
    return folder


def pretrain(folder: Path, steps: int) -> str:
    words = ["--pool", "pool", "--work", "work", "--output", "weights", "--vae-steps", "1", "--save-every", "1"]
    command = [sys.executable, "-m", "demo.emoji_flow.pretrain", *words, "--steps", str(steps), "--threads", "1"]
    paths = {"pool": folder / "pool", "work": folder / "work", "weights": folder / "weights"}
    command = [str(paths.get(word, word)) for word in command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_what_the_recipe_writes_is_brought_as_a_flow_and_draws_and_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool")
    pretrain(tmp_path, 1)
    first = (tmp_path / "weights/transformer/diffusion_pytorch_model.safetensors").read_bytes()
    pretrain(tmp_path, 2)
    assert (tmp_path / "weights/transformer/diffusion_pytorch_model.safetensors").read_bytes() != first
    record = describe("emoji-flow", tmp_path / "weights", licence=LICENCE)
    assert (record.family, record.resolution, record.parameters) == ("sd3", 64, 7_874_720)
    assert record.form == "sd3"
    backbone = DiffusionBackbone.load(
        record.path, form="sd3", resolution=record.resolution, target_modules=record.target_modules
    )
    [drawn] = backbone.sample(["emoji of dog face"], seed=0, steps=2)
    assert drawn.size == (64, 64)
