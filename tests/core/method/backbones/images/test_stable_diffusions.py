"""Stable Diffusion 1, 2 and XL: losses and prompts are those of diffusers' own pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from torch import Tensor

from core.method.backbones.backbone import join, others_of
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.forms import FormName
from core.method.protection.protection import Protection
from core.method.training.batches import Captions, MixedBatches, drawn_lines
from tests.families.images import UNETS, write_images
from tests.tiny_backbones import UNET_TARGETS

pytestmark = pytest.mark.slow
SIDE = 16
WORDS = ["a ball", "", "round and grey"]
PICTURES = [Image.radial_gradient("L").convert("RGB"), Image.new("RGB", (40, 20), "red"), Image.new("RGB", (30, 90))]
ITEMS = [{"image": image, "caption": words} for image, words in zip(PICTURES, WORDS, strict=True)]
XL = "sdxl"


@pytest.fixture(scope="module", params=UNETS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(name, tmp_path_factory.mktemp(name))


@pytest.fixture
def backbone(name: str, folder: Path) -> DiffusionBackbone:
    return load(folder, name)


@pytest.fixture
def pipeline(name: str, folder: Path) -> Any:
    """The whole pipeline, read by itself, with the sampler that is used here."""
    whole = (StableDiffusionXLPipeline if name == XL else StableDiffusionPipeline).from_pretrained(folder)
    whole.scheduler = DPMSolverMultistepScheduler.from_config(whole.scheduler.config)
    whole.set_progress_bar_config(disable=True)
    return whole


def load(folder: Path, name: str, **options: Any) -> DiffusionBackbone:
    form: FormName = "sdxl" if name == XL else "sd"
    return DiffusionBackbone.load(folder, form=form, resolution=SIDE, target_modules=UNET_TARGETS, **options)


def encoded(pipeline: Any, words: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """What the pipeline makes of prompts: its text states, and the rest that its network is told of them."""
    said = pipeline.encode_prompt(words, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    return said[0], ({"text_embeds": said[2]} if isinstance(pipeline, StableDiffusionXLPipeline) else {})


@torch.no_grad()
def test_the_loss_is_what_the_pipelines_own_parts_compute(
    name: str, backbone: DiffusionBackbone, pipeline: Any
) -> None:
    draw = backbone.random_draw(3, torch.Generator().manual_seed(2))
    ours = backbone.loss(backbone.encode(ITEMS), draw)

    squares = [image.crop(box) for image, box in zip(PICTURES, BOXES, strict=True)]
    pixels = torch.cat([pipeline.image_processor.preprocess(each, height=SIDE, width=SIDE) for each in squares])
    latent = pipeline.vae.encode(pixels).latent_dist
    latents = (latent.mean + latent.std * draw.latent) * pipeline.vae.config.scaling_factor
    noising = DDPMScheduler.from_config(pipeline.scheduler.config)
    text, added = encoded(pipeline, WORDS)
    if name == XL:
        added["time_ids"] = torch.tensor(SIZES)
    noisy = noising.add_noise(latents, draw.noise, draw.timestep)
    predicted = pipeline.unet(noisy, draw.timestep, text, added_cond_kwargs=added or None).sample
    target = noising.get_velocity(latents, draw.noise, draw.timestep) if name == "sd2-v" else draw.noise
    assert torch.allclose(ours, (predicted - target).square().mean((1, 2, 3)), rtol=1e-5)


BOXES = [(0, 0, 256, 256), (10, 0, 30, 20), (0, 30, 30, 60)]
# height and width of the file, what is cut off above and left at the drawn size, height and width of what is left
SIZES = [[256.0, 256, 0, 0, 16, 16], [20.0, 40, 0, 8, 16, 16], [90.0, 30, 16, 0, 16, 16]]


@torch.no_grad()
def test_no_caption_is_what_guidance_steers_away_from_and_the_empty_caption_is_a_prompt(
    name: str, backbone: DiffusionBackbone, pipeline: Any
) -> None:
    unwanted = pipeline.encode_prompt("a cat", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True)
    nothing, empty = backbone.nothing(), backbone.conditions([""])
    assert torch.allclose(nothing["text"], unwanted[1], atol=1e-6)
    assert torch.allclose(empty["text"], encoded(pipeline, [""])[0], atol=1e-6)
    assert torch.allclose(backbone.encode(ITEMS)["text"][1], empty["text"][0], atol=1e-5)
    assert torch.equal(nothing["text"], torch.zeros_like(nothing["text"])) == (name == XL)
    if name == XL:
        assert torch.equal(nothing["pooled"], unwanted[3])
        assert not nothing["pooled"].any()
        assert empty["pooled"].any()


def test_an_sdxl_whose_pipeline_encodes_the_empty_prompt_leaves_captions_out_so(tmp_path: Path) -> None:
    folder = write_images(XL, tmp_path)
    index = folder / "model_index.json"
    said = index.read_text()
    assert '"force_zeros_for_empty_prompt": true' in said
    index.write_text(said.replace('"force_zeros_for_empty_prompt": true', '"force_zeros_for_empty_prompt": false'))
    backbone = load(folder, XL)
    assert torch.equal(backbone.nothing()["pooled"], backbone.conditions([""])["pooled"])
    assert not backbone.pipeline.config.force_zeros_for_empty_prompt


def test_what_a_caption_says_goes_together_when_a_line_is_drawn_or_left_out(tmp_path: Path) -> None:
    backbone = load(write_images(XL, tmp_path), XL)
    lined = backbone.encode([ITEMS[0] | {"others": ["a disc"]}, ITEMS[1] | {"others": ["red", "a flag"]}])
    plain = backbone.encode([ITEMS[2]])
    assert lined["others_pooled"].shape == (2, 2, 32)
    batch = join([lined, plain])
    known = {tuple(row.tolist()) for row in plain["pooled"]}
    pairs = {}
    for number, lines in enumerate((["a ball", "a disc"], ["", "red", "a flag"])):
        for line in lines:
            said = backbone.conditions([line])
            pairs[number, round(float(said["pooled"].sum()), 3)] = round(float(said["text"].sum()), 2)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(40):
        drawn = drawn_lines(batch, generator)
        assert drawn.keys() == plain.keys()
        assert tuple(drawn["pooled"][2].tolist()) in known
        for number in range(2):
            key = number, round(float(drawn["pooled"][number].sum()), 3)
            assert pairs[key] == pytest.approx(float(drawn["text"][number].sum()), abs=0.02)
            seen.add(key)
    assert seen == pairs.keys()


def test_a_caption_that_is_left_out_is_left_out_as_a_whole_and_keeps_its_frame(tmp_path: Path) -> None:
    backbone = load(write_images(XL, tmp_path), XL)
    stream = MixedBatches(backbone, backbone.encode(ITEMS), Protection(), 3, Captions(0.5, backbone.nothing()), seed=1)
    left_out = 0
    for _ in range(8):
        batch, _ = next(stream)
        bare = ~batch["text"].flatten(1).any(1)
        assert torch.equal(bare, ~batch["pooled"].any(1))
        assert batch["time_ids"].any(1).all()
        left_out += int(bare.sum())
    assert 0 < left_out < 24
    assert others_of("text") == "others"  # as batches of older versions have it


def test_weights_are_taken_by_their_variant_where_a_part_has_it(tmp_path: Path) -> None:
    folder = write_images(XL, tmp_path)
    whole = load(folder, XL).network.state_dict()
    (folder / "unet/diffusion_pytorch_model.safetensors").rename(
        folder / "unet/diffusion_pytorch_model.fp16.safetensors"
    )
    found = load(folder, XL, variant="fp16")
    assert all(torch.equal(found.network.state_dict()[key], tensor) for key, tensor in whole.items())
    with pytest.raises(OSError, match="no file named"):
        load(folder, XL)


def test_a_network_in_halves_draws_by_its_vae_in_float32(tmp_path: Path) -> None:
    backbone = load(write_images(XL, tmp_path), XL)
    exact = backbone.sample(["a cat"], seed=1, steps=2)[0]
    backbone.network.to(torch.bfloat16)  # as on a GPU
    batch = backbone.encode(ITEMS)
    drawn = backbone.sample(["a cat"], seed=1, steps=2)[0]
    assert (backbone.network.dtype, backbone.latents.vae.dtype) == (torch.bfloat16, torch.float32)
    off = [abs(a - b) for a, b in zip(exact.tobytes(), drawn.tobytes(), strict=True)]
    assert max(off) < 16
    assert backbone.loss(batch, backbone.random_draw(3, torch.Generator().manual_seed(2))).dtype == torch.float32
    assert backbone.features(PICTURES).isfinite().all()
