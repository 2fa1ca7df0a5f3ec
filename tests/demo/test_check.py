"""What the demo measures by itself is what a job's own backbone computes, and what it can't measure it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import openai
import pytest
import torch
from PIL import Image

from core.backbones.record import describe
from core.backbones.registry import BUILT_IN, Registry
from core.method.backbones.backbone import Draw
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.settings import Settings
from demo import run
from demo.check import DRAWS, image_loss, image_pipeline, unmeasured
from tests.families.images import IMAGES, SIDE, write_images
from tests.families.texts import write_texts

FAMILIES = ("sd1", "sd2-v", "sdxl", "sd3", "sd3-without-t5")
ITEMS = [(Image.new("RGB", (SIDE, SIDE), "red"), "a cat"), (Image.new("RGB", (SIDE, SIDE), "blue"), "a dog")]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_that_the_demo_tells_is_that_of_a_jobs_own_backbone(tmp_path: Path, name: str) -> None:
    folder = write_images(name, tmp_path / name)
    record = describe("x", folder, licence="CC0")
    assert record.resolution is not None
    backbone = DiffusionBackbone.load(
        folder, form=record.form, resolution=record.resolution, target_modules=record.target_modules
    )
    batch = backbone.encode([{"image": image, "caption": caption} for image, caption in ITEMS])
    generator, losses = torch.Generator().manual_seed(7), []
    for draw in range(DRAWS):
        share = (draw + torch.rand(len(ITEMS), generator=generator)) / DRAWS
        place = share if record.objective == "flow" else (1000 * share).long()
        noise = torch.randn(batch["mean"].shape, generator=generator)
        losses.append(backbone.loss(batch, Draw(place, noise)).mean().item())
    assert image_loss(image_pipeline(folder), ITEMS) == pytest.approx(sum(losses) / DRAWS, rel=1e-4)


@pytest.mark.slow
def test_a_pipeline_is_measured_or_known_not_to_be(tmp_path: Path) -> None:
    for name in IMAGES:
        root = unmeasured(write_images(name, tmp_path / name))
        assert (root is None) == (name in {*FAMILIES, "sd2"})
    assert unmeasured(BUILT_IN["emoji-ldm"]) is None


def test_the_demo_says_before_its_jobs_what_it_could_not_measure_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry.load(Settings(data=tmp_path))
    registry.add("flux", write_images("flux1", tmp_path / "flux1"), licence="CC0")
    registry.add("letters", write_texts("llama", tmp_path / "texts"), licence="CC0")
    report = tmp_path / "report"
    for id, words in {"flux": "is a FluxPipeline", "nobody": "looked for in", "letters": "say --family texts"}.items():
        places = ["--data", str(tmp_path), "--out", str(report)]
        monkeypatch.setattr(sys, "argv", ["demo.run", "--backbone", id, *places])
        with openai.OpenAI(base_url="http://127.0.0.1:9", api_key="none") as client, pytest.raises(SystemExit) as said:
            run.demonstrate(client, run.parse())
        assert words in str(said.value)
    assert not report.exists()
