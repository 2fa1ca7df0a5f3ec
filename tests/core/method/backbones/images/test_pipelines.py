"""Every family of pictures: what it draws is what its own pipeline draws, and its text encoders are in memory in time.

Of those that learn by flow matching also the loss is computed by the pipeline's and the scheduler's own pieces.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, Flux2KleinPipeline, FluxPipeline
from PIL import Image
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Mistral3ForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Model,
    T5EncoderModel,
)

from core.backbones.record import BackboneRecord, describe
from core.method.backbones.backbone import first_lines, join, part_of, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.training.batches import Captions, drawn_lines
from tests.families.images import FLOWS, IMAGES, UNETS, readable, write_images

pytestmark = pytest.mark.slow
SIDE = 16
WORDS = ["a ball", "", "round and grey"]
PICTURES = [Image.radial_gradient("L").convert("RGB"), Image.new("RGB", (40, 20), "red"), Image.new("RGB", (30, 90))]
BOXES = [(0, 0, 256, 256), (10, 0, 30, 20), (0, 30, 30, 60)]
ITEMS = [{"image": image, "caption": words} for image, words in zip(PICTURES, WORDS, strict=True)]


@pytest.fixture(scope="module", params=IMAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def record(name: str, tmp_path_factory: pytest.TempPathFactory) -> BackboneRecord:
    return describe(name, write_images(name, tmp_path_factory.mktemp(name)), licence="CC0")


@pytest.fixture
def backbone(record: BackboneRecord) -> DiffusionBackbone:
    return load(record)


@pytest.fixture
def pipeline(name: str, record: BackboneRecord, tmp_path: Path) -> Any:
    """The whole pipeline, read by itself, with the sampler that is used here."""
    left_out = {"text_encoder_3": None, "tokenizer_3": None} if name == "sd3-without-t5" else {}
    whole: Any = DiffusionPipeline.from_pretrained(readable(record.path, tmp_path / name), **left_out)
    if name in UNETS:
        whole.scheduler = DPMSolverMultistepScheduler.from_config(whole.scheduler.config)
    whole.set_progress_bar_config(disable=True)
    return whole


def load(record: BackboneRecord) -> DiffusionBackbone:
    return DiffusionBackbone.load(record.path, form=record.form, resolution=SIDE, target_modules=record.target_modules)


@torch.no_grad()
def test_pictures_are_those_that_the_whole_pipeline_draws(
    name: str, backbone: DiffusionBackbone, pipeline: Any
) -> None:
    ours = backbone.sample(["a cat", ""], seed=3, steps=4, guidance=2.5)
    generators = [torch.Generator().manual_seed(3 + place) for place in range(2)]
    qwen = name == "qwen-image"  # which guides only where it is told what to steer away from
    asked = {"true_cfg_scale": 2.5, "negative_prompt": ""} if qwen else {"guidance_scale": 2.5}
    theirs = pipeline(
        prompt=["a cat", ""], height=SIDE, width=SIDE, num_inference_steps=4, generator=generators, **asked
    ).images
    for mine, wanted in zip(ours, theirs, strict=True):
        assert max(abs(a - b) for a, b in zip(mine.tobytes(), wanted.tobytes(), strict=True)) <= 1


@torch.no_grad()
@pytest.mark.parametrize("name", FLOWS, indirect=True)  # of the others see test_stable_diffusions
def test_the_loss_of_a_flow_is_what_its_pipelines_own_pieces_compute(
    backbone: DiffusionBackbone, pipeline: Any
) -> None:
    draw = backbone.random_draw(3, torch.Generator().manual_seed(2))
    ours = backbone.loss(backbone.encode(ITEMS), draw)

    squares = [image.crop(box) for image, box in zip(PICTURES, BOXES, strict=True)]
    pixels = torch.cat([pipeline.image_processor.preprocess(each, height=SIDE, width=SIDE) for each in squares])
    latents = latents_of(pipeline.vae, pixels, draw.latent)
    steps = draw.timestep * 1000
    pipeline.scheduler.timesteps, pipeline.scheduler.sigmas = steps, draw.timestep
    noisy = pipeline.scheduler.scale_noise(latents, steps, draw.noise)
    predicted = PREDICTED[type(pipeline).__name__](pipeline, noisy, steps)
    assert torch.allclose(ours, (predicted - (draw.noise - latents)).square().mean((1, 2, 3)), rtol=1e-5)


def latents_of(vae: Any, pixels: Tensor, noise: Tensor) -> Tensor:
    settings = vae.config
    if hasattr(vae, "bn"):
        latent = vae.encode(pixels).latent_dist
        place, spread = (Flux2KleinPipeline._patchify_latents(each) for each in (latent.mean, latent.std))
        return vae.bn.eval()(place + spread * noise)
    if settings.get("latents_mean") is not None:
        latent = vae.encode(pixels.unsqueeze(2)).latent_dist
        mean, spread = (torch.tensor(each).view(1, -1, 1, 1) for each in (settings.latents_mean, settings.latents_std))
        return ((latent.mean + latent.std * noise.unsqueeze(2)).squeeze(2) - mean) / spread
    latent = vae.encode(pixels).latent_dist
    return (latent.mean + latent.std * noise - settings.shift_factor) * settings.scaling_factor


def sd3(pipeline: Any, noisy: Tensor, steps: Tensor) -> Tensor:
    text, _, pooled, _ = pipeline.encode_prompt(WORDS, None, None, do_classifier_free_guidance=False)
    return pipeline.transformer(noisy, text, pooled, steps).sample


def flux(pipeline: Any, noisy: Tensor, steps: Tensor) -> Tensor:
    text, pooled, text_ids = pipeline.encode_prompt(WORDS)
    count, channels, rows, columns = noisy.shape
    packed, ids = pipeline.prepare_latents(count, channels, SIDE, SIDE, noisy.dtype, noisy.device, None, noisy)
    packed = FluxPipeline._pack_latents(packed, count, channels, rows, columns)
    guidance = torch.full((count,), 1.0)
    told = {"guidance": guidance, "pooled_projections": pooled, "encoder_hidden_states": text, "txt_ids": text_ids}
    found = pipeline.transformer(packed, timestep=steps / 1000, img_ids=ids, **told).sample
    return FluxPipeline._unpack_latents(found, SIDE, SIDE, pipeline.vae_scale_factor)


def flux2(pipeline: Any, noisy: Tensor, steps: Tensor) -> Tensor:
    text, text_ids = pipeline.encode_prompt(list(WORDS))
    rows, columns = noisy.shape[2:]
    packed, ids = pipeline.prepare_latents(len(noisy), 4, SIDE, SIDE, noisy.dtype, noisy.device, None, noisy)
    told = {"encoder_hidden_states": text, "txt_ids": text_ids, "img_ids": ids}
    sides: tuple[int, ...] = (rows, columns)
    if pipeline.transformer.config.guidance_embeds:
        told["guidance"], sides = torch.ones(len(noisy)), ()
    found = pipeline.transformer(packed, timestep=steps / 1000, **told).sample
    return pipeline._unpack_latents_with_ids(found, ids, *sides)


def zimage(pipeline: Any, noisy: Tensor, steps: Tensor) -> Tensor:
    captions, _ = pipeline.encode_prompt(list(WORDS), do_classifier_free_guidance=False)
    found = pipeline.transformer(list(noisy.unsqueeze(2).unbind()), (1000 - steps) / 1000, captions).sample
    return -torch.stack(found).squeeze(2)


def qwen_image(pipeline: Any, noisy: Tensor, steps: Tensor) -> Tensor:
    text, mask = pipeline.encode_prompt(WORDS)
    count, channels, rows, columns = noisy.shape
    packed = pipeline._pack_latents(noisy, count, channels, rows, columns)
    told = {"encoder_hidden_states": text, "encoder_hidden_states_mask": mask}
    shapes = [[(1, rows // 2, columns // 2)]] * count
    found = pipeline.transformer(packed, timestep=steps / 1000, img_shapes=shapes, **told).sample
    return pipeline._unpack_latents(found, SIDE, SIDE, pipeline.vae_scale_factor)[:, :, 0]


PREDICTED = {
    "StableDiffusion3Pipeline": sd3,
    "FluxPipeline": flux,
    "Flux2Pipeline": flux2,
    "Flux2KleinPipeline": flux2,
    "ZImagePipeline": zimage,
    "QwenImagePipeline": qwen_image,
}


@pytest.mark.parametrize("name", FLOWS, indirect=True)  # the others read as far as their tokenizers say
def test_captions_are_learned_as_far_as_the_pipeline_reads_prompts(
    name: str, backbone: DiffusionBackbone, pipeline: Any
) -> None:
    said = backbone.conditions(["so " * 800])["text"]
    beside = pipeline.tokenizer.model_max_length if name.startswith("sd3") else 0
    assert said.shape[1] == beside + inspect.signature(pipeline.__call__).parameters["max_sequence_length"].default


def test_items_that_are_encoded_together_are_those_that_are_encoded_alone(backbone: DiffusionBackbone) -> None:
    shapes = [item | {"size": size, "others": ["a disc", "and more"]} for item, size in zip(ITEMS, SIZES, strict=True)]
    for items in (ITEMS, shapes):
        together, alone = backbone.encode(items), join([backbone.encode([item]) for item in items])
        assert together.keys() == alone.keys()
        for key, tensor in together.items():
            assert torch.allclose(tensor, alone[key], atol=1e-5), key


SIZES = [(16, 16), (24, 16), (16, 24)]


@torch.no_grad()
def test_a_caption_counts_as_alone_whatever_stands_beside_it_or_takes_its_place(backbone: DiffusionBackbone) -> None:
    lined = backbone.encode([ITEMS[0] | {"others": ["a disc, which is round and has no corners at all"]}])
    batch = join([lined, backbone.encode(ITEMS[1:])])
    draw = backbone.random_draw(3, torch.Generator().manual_seed(2))
    known = [["a ball", "a disc, which is round and has no corners at all"], [""], ["round and grey"]]
    nothing = Captions(1.0, backbone.nothing()).thin(first_lines(batch), torch.Generator())
    for told, lines, said in (
        (drawn_lines(batch, torch.Generator().manual_seed(0)), known, {}),
        (nothing, [[""]] * 3, backbone.nothing()),
    ):
        losses = backbone.loss(told, draw)
        for place, item in enumerate(ITEMS):
            index = torch.tensor([place])
            alone = [backbone.encode([item | {"caption": line}]) | said for line in lines[place]]
            wanted = torch.cat([backbone.loss(one, part_of(draw, index)) for one in alone])
            assert (losses[place] / wanted - 1).abs().min() < 1e-4


def test_only_how_long_captions_are_stays_with_the_host(backbone: DiffusionBackbone) -> None:
    told = backbone._told(backbone.conditions(WORDS), torch.device("meta"))
    assert {name for name, each in told.items() if each.device.type == "cpu"} == {"words"} & set(told)


def test_a_picture_of_another_shape_is_learned_and_drawn(backbone: DiffusionBackbone) -> None:
    wide = backbone.encode([ITEMS[0] | {"size": (24, 16)}, ITEMS[1] | {"size": (24, 16)}])
    draw = backbone.random_draw(2, torch.Generator().manual_seed(1), sizes=wide["size"])
    with torch.no_grad():
        together = backbone.loss(wide, draw)
        first = backbone.loss(take(wide, torch.tensor([1])), part_of(draw, torch.tensor([1])))
    assert torch.allclose(together[1:], first, rtol=1e-5)
    backbone.drawn_size = (24, 16)
    assert backbone.sample(["a cat"], seed=1, steps=2)[0].size == (24, 16)
    assert backbone.features(PICTURES).isfinite().all()
    assert backbone.style_features(PICTURES).isfinite().all()


def test_features_of_many_pictures_are_those_of_each_and_tell_them_apart(backbone: DiffusionBackbone) -> None:
    for features in (backbone.features, backbone.style_features):
        together, alone = features(PICTURES), torch.cat([features([each]) for each in PICTURES])
        assert torch.allclose(together, alone, atol=1e-4)
        assert (together[0] - together[1]).norm() > 1e-3


def test_details_are_told_by_transformers_as_many_as_a_picture_has_places(
    name: str, backbone: DiffusionBackbone
) -> None:
    square = backbone.details(PICTURES)
    assert (square is None) == (name in UNETS)
    if square is None:
        return
    backbone.drawn_size = (2 * SIDE, SIDE)
    wide = backbone.details(PICTURES)
    assert wide is not None
    assert (len(square), len(wide), wide.shape[1]) == (3, 3, 2 * square.shape[1])
    for details in (square, wide):
        assert torch.allclose(details.norm(dim=2), torch.ones(1), atol=1e-5)
        assert (details[0] - details[1]).norm() > 1e-3


ENCODERS = (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5EncoderModel,
    Qwen3Model,
    Qwen2_5_VLForConditionalGeneration,
    Mistral3ForConditionalGeneration,
)


@pytest.fixture
def encoder_parameters(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Tell how many numbers of text encoders are held, of those that were made since the test began.

    By weak references: to look through all objects breaks tuples that other threads are making (SystemError).
    """
    held: WeakSet[torch.nn.Module] = WeakSet()

    def watch(kind: type[torch.nn.Module]) -> None:
        make = kind.__init__

        @functools.wraps(make)
        def made(self: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
            make(self, *args, **kwargs)
            held.add(self)

        monkeypatch.setattr(kind, "__init__", made)

    for kind in ENCODERS:
        watch(kind)
    return lambda: sum(tensor.numel() for each in held for tensor in each.parameters())


def test_text_encoders_are_held_only_while_something_is_encoded(
    backbone: DiffusionBackbone, encoder_parameters: Callable[[], int]
) -> None:
    with backbone.encoding():
        batch = backbone.encode(ITEMS)
        backbone.prompts.hold([None, "a cat"])
        assert encoder_parameters() > 10_000
    assert encoder_parameters() == 0
    draw = backbone.random_draw(3, torch.Generator().manual_seed(2))
    seen: list[int] = []
    backbone.network.register_forward_pre_hook(lambda *_: seen.append(encoder_parameters()))
    with backbone.lora.use(backbone.lora.new(2, 2.0)):
        backbone.loss(batch, draw).sum().backward()
    backbone.sample(["a cat"], seed=1, steps=2)
    backbone.features(PICTURES)
    assert len(seen) >= 3
    assert set(seen) == {0}


def test_a_prompt_that_is_not_held_brings_the_encoders_back_for_a_moment(
    backbone: DiffusionBackbone, encoder_parameters: Callable[[], int]
) -> None:
    first = backbone.sample(["a cat"], seed=1, steps=2)
    assert encoder_parameters() == 0
    backbone.prompts.forget()
    assert backbone.sample(["a cat"], seed=1, steps=2)[0].tobytes() == first[0].tobytes()


def test_prompts_come_back_from_their_file_to_the_bit(
    record: BackboneRecord, backbone: DiffusionBackbone, tmp_path: Path
) -> None:
    drawn = backbone.sample(["a cat", "sks"], seed=1, steps=2)
    backbone.prompts.write(tmp_path / "prompts.safetensors")
    other = load(record)
    other.prompts.read(tmp_path / "prompts.safetensors")
    other.conditioner.encode = None  # type: ignore[method-assign] - it has nothing left to encode
    again = other.sample(["a cat", "sks"], seed=1, steps=2)
    assert [each.tobytes() for each in again] == [each.tobytes() for each in drawn]
