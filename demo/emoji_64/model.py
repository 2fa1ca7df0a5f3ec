"""What both backbones are made of beside their network: the autoencoder and the text encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, ModelMixin
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from demo.emoji_64.latents import Batch
from demo.emoji_ldm import model as emoji_ldm

IMAGE_SIZE = 64
LATENT_CHANNELS = 8
LATENT_SIDE = 16
VAE_WIDTHS = (24, 48, 72)
WORDS = Path(emoji_ldm.__file__).parent / "weights"


@dataclass(frozen=True)
class Recipe:
    """A network that learns from the latents of the pool, and the pipeline that it draws in."""

    build: Callable[[int], ModelMixin]  # from the width of the text encoder
    loss: Callable[[ModelMixin, Batch], torch.Tensor]
    pipeline: Callable[[AutoencoderKL, ModelMixin, CLIPTextModelWithProjection, CLIPTokenizer], DiffusionPipeline]
    rates: tuple[float, float, int]  # of learning: the peak, the floor, and the steps to the peak
    steps: int


def build_vae() -> AutoencoderKL:
    """Build an autoencoder that quarters each side, in 8 channels."""
    return emoji_ldm.build_vae(IMAGE_SIZE, VAE_WIDTHS, LATENT_CHANNELS, shift_factor=0.0)


def read_text_encoder() -> CLIPTextModelWithProjection:
    """Read the text encoder of emoji-ldm, whose words both share; the projection leaves all as it is."""
    encoder = CLIPTextModel.from_pretrained(WORDS, subfolder="text_encoder", dtype=torch.float32)
    projected = CLIPTextModelWithProjection(encoder.config)
    projected.text_model.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        projected.text_projection.weight.copy_(torch.eye(encoder.config.hidden_size))
    return projected.eval().requires_grad_(False)


def read_tokenizer() -> CLIPTokenizer:
    """Read the tokenizer of emoji-ldm."""
    return CLIPTokenizer.from_pretrained(WORDS, subfolder="tokenizer")
