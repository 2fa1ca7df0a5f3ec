"""Measure a downloaded adapter with plain diffusers, transformers and peft: nothing of the service is imported here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

DRAWS = 8
MEASURED = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline")


@dataclass(frozen=True)
class Effect:
    """Mean loss without and with the adapter, over the same items and the same noise."""

    before: float
    after: float

    @property
    def change(self) -> float:
        return self.after / self.before - 1.0


def captioned_images(folder: Path) -> list[tuple[Image.Image, str]]:
    """Images of a folder with the captions that stand beside them."""
    return [
        (Image.open(path).convert("RGB"), path.with_suffix(".txt").read_text().strip())
        for path in sorted(folder.glob("*.png"))
    ]


def image_pipeline(weights: Path, adapter: Path | None = None):
    """Load the backbone as any user of diffusers would, and the adapter with `load_lora_weights`."""
    from diffusers import DiffusionPipeline

    index = json.loads((weights / "model_index.json").read_text())
    absent = {name: None for name, part in index.items() if part == [None, None]}  # an encoder that it does without
    pipeline = DiffusionPipeline.from_pretrained(weights, dtype=torch.float32, **absent)
    pipeline.set_progress_bar_config(disable=True)
    if adapter is not None:
        pipeline.load_lora_weights(adapter.parent, weight_name=adapter.name)
    return pipeline


def unmeasured(weights: Path) -> str | None:
    """The class of a pipeline that `image_loss` can't be told of; None where it can."""
    root = json.loads((weights / "model_index.json").read_text())["_class_name"]
    return None if root in MEASURED else str(root)


@torch.no_grad()
def image_loss(pipeline, items: Sequence[tuple[Image.Image, str]], seed: int = 7) -> float:
    """Mean error of noise, velocity or a flow's direction, over the items and DRAWS draws, stratified by timestep."""
    flow = hasattr(pipeline, "transformer")
    latents = clean_latents(pipeline, [image for image, _ in items])
    error = flow_error if flow else noise_error
    told = pipeline.encode_prompt(
        [caption for _, caption in items],
        **({"prompt_2": None, "prompt_3": None} if flow else {"device": "cpu", "num_images_per_prompt": 1}),
        do_classifier_free_guidance=False,
    )
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for draw in range(DRAWS):
        share = (draw + torch.rand(len(items), generator=generator)) / DRAWS
        noise = torch.randn(latents.shape, generator=generator)
        losses.append(error(pipeline, latents, noise, share, told))
    return sum(losses) / DRAWS


def clean_latents(pipeline, images: Sequence[Image.Image]) -> torch.Tensor:
    """The means that the VAE has of the images, (N, c, h, w), as its network sees them."""
    network = pipeline.transformer if hasattr(pipeline, "transformer") else pipeline.unet
    side = network.config.sample_size * pipeline.vae_scale_factor
    pixels = pipeline.image_processor.preprocess([image.resize((side, side), Image.LANCZOS) for image in images])
    config = pipeline.vae.config
    means = pipeline.vae.encode(pixels).latent_dist.mean
    return (means - (config.shift_factor or 0.0)) * config.scaling_factor


def noise_error(pipeline, latents: torch.Tensor, noise: torch.Tensor, share: torch.Tensor, told) -> float:
    """The error of the noise or velocity that a U-Net predicts, at these shares of its timesteps."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    steps = (share * scheduler.config.num_train_timesteps).long()
    velocity = scheduler.config.prediction_type == "v_prediction"
    wanted = scheduler.get_velocity(latents, noise, steps) if velocity else noise
    added = None
    if pipeline.unet.config.addition_embed_type == "text_time":  # of SDXL: the caption as a whole, and the sizes
        side = latents.shape[-1] * pipeline.vae_scale_factor
        sizes = torch.tensor([[side, side, 0, 0, side, side]] * len(latents), dtype=latents.dtype)
        added = {"text_embeds": told[2], "time_ids": sizes}
    noisy = scheduler.add_noise(latents, noise, steps)
    predicted = pipeline.unet(noisy, steps, told[0], added_cond_kwargs=added).sample
    return (predicted - wanted).square().mean().item()


def flow_error(pipeline, latents: torch.Tensor, noise: torch.Tensor, share: torch.Tensor, told) -> float:
    """The error of the direction that a transformer of Stable Diffusion 3 predicts, at these shares of the way."""
    place = share[:, None, None, None]
    predicted = pipeline.transformer(
        hidden_states=(1 - place) * latents + place * noise,
        timestep=share * pipeline.scheduler.config.num_train_timesteps,
        encoder_hidden_states=told[0],
        pooled_projections=told[2],
    ).sample
    return (predicted - (noise - latents)).square().mean().item()


def image_effect(weights: Path, adapter: Path, items: Sequence[tuple[Image.Image, str]]) -> Effect:
    return Effect(image_loss(image_pipeline(weights), items), image_loss(image_pipeline(weights, adapter), items))


def read_rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


@torch.no_grad()
def text_loss(model, tokenizer, rows: Sequence[dict[str, object]]) -> float:
    """Mean cross-entropy of the answers' tokens, one row at a time: no padding to get wrong."""
    losses = []
    for row in rows:
        prompt, whole = prompt_and_whole(tokenizer, row)
        ids = tokenizer(whole, return_tensors="pt", add_special_tokens=False).input_ids
        labels = ids.clone()
        labels[:, : len(tokenizer(prompt, add_special_tokens=False).input_ids)] = -100
        losses.append(model(input_ids=ids, labels=labels).loss.item())
    return sum(losses) / len(losses)


def prompt_and_whole(tokenizer, row: dict[str, object]) -> tuple[str, str]:
    if "text" in row:
        return "", str(row["text"])
    if "messages" in row:
        messages = row["messages"]
        assert isinstance(messages, list)
        prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        return prompt, tokenizer.apply_chat_template(messages, tokenize=False)
    return str(row["prompt"]), str(row["prompt"]) + str(row["completion"])


def text_effect(weights: Path, adapter: Path, rows: Sequence[dict[str, object]]) -> Effect:
    """Compare a causal LM without and with a peft folder."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights)
    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32).eval()
    before = text_loss(model, tokenizer, rows)
    adapted = PeftModel.from_pretrained(model, adapter).eval()
    return Effect(before, text_loss(adapted, tokenizer, rows))
