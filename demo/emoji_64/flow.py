"""The transformer: a small one of Stable Diffusion 3, which learns by flow matching."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch.nn.functional import pad, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from demo.emoji_64.latents import Batch
from demo.emoji_64.model import LATENT_CHANNELS, LATENT_SIDE, Recipe

PATCH = 2
HEADS, HEAD_WIDTH, BLOCKS = 6, 32, 6
TIMESTEPS = 1000
ABSENT = 256  # zeros that StableDiffusion3Pipeline puts where a T5 would speak


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


class LastCounts(TorchFunctionMode):
    """Let the last token of every attention count as often as it stands for others that are its equals.

    Equal tokens stay equal through joint attention, and n of them weigh as one whose logit is larger by log n.
    """

    def __init__(self, tokens: int, times: int) -> None:
        super().__init__()
        self.bias = torch.zeros(1, 1, 1, tokens)
        self.bias[..., -1] = math.log(times)

    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: Sequence = (), kwargs: Mapping | None = None
    ) -> object:
        """Pass every call on, one of attention with the bias."""
        more = {}
        if function is scaled_dot_product_attention:
            more = {"attn_mask": self.bias.to(args[0])}
        return function(*args, **{**(kwargs or {}), **more})


def predict(
    transformer: SD3Transformer2DModel,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    states: torch.Tensor,
    whole: torch.Tensor,
) -> torch.Tensor:
    """Predict as in the pipeline, where ABSENT zeros follow the words: they are equal, so one is computed for all.

    States are (B, tokens, width) and whole captions (B, width) of one encoder, which stands for both.
    """
    device = transformer.device
    told = pad(torch.cat([states] * 2, dim=-1), (0, 0, 0, 1))
    pictures = (noisy.shape[-1] // PATCH) ** 2
    with LastCounts(pictures + told.shape[1], ABSENT):
        return transformer(
            hidden_states=noisy.to(device),
            timestep=timesteps.to(device),
            encoder_hidden_states=told.to(device),
            pooled_projections=torch.cat([whole] * 2, dim=-1).to(device),
        ).sample


def flow_loss(transformer: SD3Transformer2DModel, batch: Batch) -> torch.Tensor:
    """Compute the error of the velocity n - x at (1 - s) x + s n, with s logit-normal (Esser et al. 2403.03206)."""
    device, latents = transformer.device, batch.latents
    noise = torch.randn(latents.shape, generator=batch.draw)
    place = torch.randn(len(latents), generator=batch.draw).sigmoid()
    share = place[:, None, None, None]
    noisy, wanted = (1 - share) * latents + share * noise, noise - latents
    predicted = predict(transformer, noisy, TIMESTEPS * place, batch.states, batch.whole)
    return (predicted.float() - wanted.to(device)).square().mean()


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


FLOW = Recipe(build_transformer, flow_loss, build_pipeline, rates=(1e-3, 1e-5, 200), steps=6000)
