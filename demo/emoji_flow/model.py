"""Build the components of the emoji flow model: an autoencoder for 64 pixels and a small SD3 transformer."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from demo.emoji_ldm import model as emoji_ldm

IMAGE_SIZE = 64
LATENT_CHANNELS = 8
LATENT_SIDE = 16
VAE_WIDTHS = (24, 48, 72)
PATCH = 2
HEADS, HEAD_WIDTH, BLOCKS = 6, 32, 6


def build_vae() -> AutoencoderKL:
    """Build an autoencoder that quarters each side, in 8 channels."""
    return emoji_ldm.build_vae(IMAGE_SIZE, VAE_WIDTHS, LATENT_CHANNELS, shift_factor=0.0)


def build_transformer(text_width: int) -> SD3Transformer2DModel:
    """Build a velocity predictor of about 8 M parameters, told by two encoders of this width joined."""
    return SD3Transformer2DModel(
        sample_size=LATENT_SIDE,
        patch_size=PATCH,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=BLOCKS,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS,
        joint_attention_dim=2 * text_width,
        caption_projection_dim=HEADS * HEAD_WIDTH,
        pooled_projection_dim=2 * text_width,
        pos_embed_max_size=2 * LATENT_SIDE // PATCH,
        qk_norm="rms_norm",
    )


def read_text_encoder(weights: Path) -> CLIPTextModelWithProjection:
    """Read the text encoder of emoji-ldm, whose words this model shares; the projection leaves all as it is."""
    encoder = CLIPTextModel.from_pretrained(weights, subfolder="text_encoder", dtype=torch.float32)
    projected = CLIPTextModelWithProjection(encoder.config)
    projected.text_model.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        projected.text_projection.weight.copy_(torch.eye(encoder.config.hidden_size))
    return projected.eval().requires_grad_(False)


def build_pipeline(
    vae: AutoencoderKL,
    transformer: SD3Transformer2DModel,
    text_encoder: CLIPTextModelWithProjection,
    tokenizer: CLIPTokenizer,
) -> StableDiffusion3Pipeline:
    """Join the components; both places for a CLIP hold the same one, and there is no T5."""
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder,
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
