"""Tiny folders of every image family: its true pipeline, parts and prediction, with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.families.flows import (
    random_flux,
    random_flux2,
    random_flux2_klein,
    random_qwen_image,
    random_sd3,
    random_zimage,
)
from tests.tiny_backbones import random_diffusion, spelling_vocabulary, text_encoder_configuration

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

SIDE = 16  # pixels
PROCESSOR, TOKENIZER = ["transformers", "PixtralProcessor"], ["transformers", "TokenizersBackend"]
TIME_IDS = 6  # numbers of SDXL: the picture's size, where it was cut, the size that is drawn


@dataclass(frozen=True)
class ImageFamily:
    """A family as diffusers has it: one text encoder or two, and what the network predicts."""

    id: str  # in the table of families
    prediction: str = "epsilon"
    adapted: int = 32  # modules


IMAGES: Mapping[str, ImageFamily] = {
    "sd1": ImageFamily("sd1"),
    "sd2": ImageFamily("sd2"),
    "sd2-v": ImageFamily("sd2", prediction="v_prediction"),
    "sdxl": ImageFamily("sdxl", adapted=40),
    "sd3": ImageFamily("sd3", "flow", adapted=17),
    "sd3-without-t5": ImageFamily("sd3", "flow", adapted=17),
    "flux1": ImageFamily("flux1", "flow", adapted=14),
    "flux2": ImageFamily("flux2", "flow", adapted=12),
    "flux2-klein": ImageFamily("flux2-klein", "flow", adapted=12),
    "z-image": ImageFamily("z-image", "flow", adapted=8),
    "qwen-image": ImageFamily("qwen-image", "flow", adapted=12),
}
UNETS = tuple(name for name, row in IMAGES.items() if row.prediction != "flow")
FLOWS = tuple(name for name, row in IMAGES.items() if row.prediction == "flow")


def write_images(name: str, folder: Path) -> Path:
    """Write a folder of the family with random weights."""
    random_pipeline(name).save_pretrained(folder)
    if name == "flux2":
        _name_processor(folder)
    return folder


def readable(folder: Path, place: Path) -> Path:
    """Return a folder that diffusers reads without torchvision: one that names the tokenizer of its processor."""
    index = json.loads((folder / "model_index.json").read_text())
    if index["tokenizer"] != PROCESSOR:
        return folder
    place.mkdir()
    for each in folder.iterdir():
        (place / each.name).symlink_to(each)
    (place / "model_index.json").unlink()
    (place / "model_index.json").write_text(json.dumps(index | {"tokenizer": TOKENIZER}))
    return place


def _name_processor(folder: Path) -> None:
    """Name the processor that the tokenizer of FLUX.2-dev is a part of, and write what it says of pictures."""
    file = folder / "model_index.json"
    index = json.loads(file.read_text())
    assert index["tokenizer"] == TOKENIZER
    file.write_text(json.dumps(index | {"tokenizer": PROCESSOR}))
    said = {"image_processor_type": "PixtralImageProcessor", "processor_class": PROCESSOR[1]}
    (folder / "tokenizer/preprocessor_config.json").write_text(json.dumps(said))


def random_pipeline(name: str) -> Any:
    """Return the whole pipeline of a family with random weights."""
    row = IMAGES[name]
    if row.prediction == "flow":
        return FLOW_PIPELINES[name]()
    return random_sdxl() if row.id == "sdxl" else random_sd(row)


FLOW_PIPELINES: Mapping[str, Callable[[], Any]] = {
    "sd3": random_sd3,
    "sd3-without-t5": lambda: random_sd3(t5=False),
    "flux1": random_flux,
    "flux2": random_flux2,
    "flux2-klein": random_flux2_klein,
    "z-image": random_zimage,
    "qwen-image": random_qwen_image,
}


def random_sd(row: ImageFamily) -> StableDiffusionPipeline:
    """Stable Diffusion 1.x or 2.x: the second has linear projections, and its own number of heads a block."""
    from diffusers import DDPMScheduler, UNet2DConditionModel

    pipeline = random_diffusion()
    if row.id == "sd2":
        import torch

        torch.manual_seed(1)
        pipeline.unet = UNet2DConditionModel(
            **own(pipeline.unet) | {"use_linear_projection": True, "attention_head_dim": [4, 8]}
        )
    pipeline.scheduler = DDPMScheduler.from_config(pipeline.scheduler.config, prediction_type=row.prediction)
    return pipeline


def random_sdxl() -> StableDiffusionXLPipeline:
    """SDXL: two text encoders side by side, pooled words and the picture's sizes beside the time."""
    import torch
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    base = random_diffusion()
    vocabulary = spelling_vocabulary()
    second = text_encoder_configuration(vocabulary)
    second.hidden_size, second.intermediate_size, second.hidden_act = 64, 96, "gelu"
    torch.manual_seed(2)
    unet = own(base.unet) | {
        "cross_attention_dim": base.text_encoder.config.hidden_size + second.hidden_size,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": TIME_IDS * 8 + second.projection_dim,
        "transformer_layers_per_block": [1, 2],
        "attention_head_dim": [4, 8],
    }
    return StableDiffusionXLPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        text_encoder_2=CLIPTextModelWithProjection(second),
        tokenizer=base.tokenizer,
        tokenizer_2=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24, pad_token="!"),
        unet=UNet2DConditionModel(**unet),
        scheduler=base.scheduler,
        add_watermarker=False,
    )


def own(network: Any) -> dict[str, Any]:
    """Return a network's configuration without diffusers' notes, and without the number of heads."""
    return {
        key: value for key, value in network.config.items() if not key.startswith("_") and key != "attention_head_dim"
    }
