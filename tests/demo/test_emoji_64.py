"""The recipes of the backbones of 64 pixels, from the first step to a folder that is brought and draws."""

from __future__ import annotations

import json
import random
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline

from core.backbones.record import describe
from core.disk import ROOT
from core.method.backbones.images.diffusion import DiffusionBackbone
from demo.emoji_64 import pretrain
from demo.emoji_64.flow import ABSENT, predict
from demo.emoji_64.latents import Captions
from demo.emoji_64.model import IMAGE_SIZE, LATENT_CHANNELS, LATENT_SIDE, build_vae, read_text_encoder, read_tokenizer
from demo.emoji_64.xl import SIZES
from demo.emoji_ldm.pool import draw_caption, every_caption, read_items
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


def pretrained(network: str, folder: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, bytes]:
    """Train for some steps, as the command does; returns the files of the network and of its autoencoder."""
    words = ["--save-every", "1", "--steps", str(steps), "--threads", str(torch.get_num_threads())]
    if network == "xl" and steps == 1:  # on another autoencoder than the one that is shipped, which is said once
        words += ["--vae-steps", "1"]
    places = ["--pool", folder / "pool", "--work", folder / "work", "--output", folder / network]
    monkeypatch.setattr(sys, "argv", ["pretrain", network, *map(str, places), *words])
    pretrain.main()
    part = {"flow": "transformer", "xl": "unet"}[network]
    written, vae = (folder / network / each / "diffusion_pytorch_model.safetensors" for each in (part, "vae"))
    return written.read_bytes(), vae.read_bytes()


def test_every_caption_that_training_draws_is_known_beforehand() -> None:
    items, draw = read_items(ROOT / "demo/emoji_ldm/pool"), random.Random(0)
    drawn = {draw_caption(item, draw) for item in items for _ in range(30)}
    assert len(drawn) > 2 * len(items)
    assert drawn <= {"", *every_caption(items)}


SAID = ["emoji of dog face", ""]


def told(network: str, folder: Path) -> tuple[DiffusionPipeline, torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]:
    """A new pipeline of a recipe, what its network learns that SAID says, and what the pipeline would tell it."""
    recipe, captions = pretrain.RECIPES[network], Captions(read_text_encoder(), read_tokenizer(), read_items(folder))
    torch.manual_seed(0)
    built = recipe.build(captions.whole.shape[1])
    pipeline = recipe.pipeline(build_vae(), built, read_text_encoder(), read_tokenizer())
    others = {"flow": {"prompt_2": None, "prompt_3": None}, "xl": {}}[network]
    states, whole = captions.of(SAID)
    return pipeline, states, whole, pipeline.encode_prompt(SAID, **others, do_classifier_free_guidance=False)


@torch.no_grad()
def test_the_transformer_learns_from_what_its_pipeline_tells_it(tmp_path: Path) -> None:
    pipeline, states, whole, (sentence, _, pooled, _) = told("flow", write_pool(tmp_path / "pool"))
    noisy, steps = torch.randn(2, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE), torch.tensor([300.0, 700.0])
    drawn = pipeline.transformer(noisy, sentence, pooled, steps).sample
    learned = predict(pipeline.transformer, noisy, steps, states, whole)
    assert (drawn - learned).abs().max() < 1e-5 * drawn.abs().max()
    assert sentence.shape[1] == states.shape[1] + ABSENT, "what is not said is not told as often as it is learned"


@torch.no_grad()
def test_the_unet_learns_from_what_its_pipeline_tells_it(tmp_path: Path) -> None:
    pipeline, states, whole, (sentence, _, pooled, _) = told("xl", write_pool(tmp_path / "pool"))
    assert torch.allclose(sentence, torch.cat([states] * 2, -1), atol=1e-5)
    assert torch.allclose(pooled, whole, atol=1e-5)
    side, width = (IMAGE_SIZE, IMAGE_SIZE), pooled.shape[1]
    sizes = pipeline._get_add_time_ids(side, (0, 0), side, torch.float32, text_encoder_projection_dim=width)
    assert sizes.tolist() == [list(SIZES)]


@pytest.mark.slow
@pytest.mark.parametrize(("network", "family", "parameters"), [("flow", "sd3", 7_874_720), ("xl", "sdxl", 9_640_632)])
def test_what_a_recipe_writes_is_brought_and_draws_and_an_interrupted_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, family: str, parameters: int
) -> None:
    write_pool(tmp_path / "pool")
    (first, vae), (second, same) = (pretrained(network, tmp_path, steps, monkeypatch) for steps in (1, 2))
    assert first != second
    assert vae == same
    record = describe("emoji", tmp_path / network, licence=LICENCE)
    assert (record.family, record.form, record.resolution, record.parameters) == (family, family, 64, parameters)
    assert record.objective == {"flow": "flow", "xl": "v_prediction"}[network]
    backbone = DiffusionBackbone.load(
        record.path, form=record.form, resolution=record.resolution, target_modules=record.target_modules
    )
    [drawn] = backbone.sample(["emoji of dog face"], seed=0, steps=2)
    assert drawn.size == (64, 64)
