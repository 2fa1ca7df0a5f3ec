"""How a network of pictures is called: its noisy latents, timesteps and all that it is told, in its own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import FluxPipeline
from torch import Tensor, nn

from core.method.backbones.backbone import Batch
from core.method.backbones.images.conditioners.chat import as_long_as_they_are, told_of
from core.method.backbones.images.objective import THOUSAND
from core.method.backbones.images.packing import packed, unpacked

# network, noisy latents (N, c, h, w), timesteps (N,), what it is told: the prediction (N, c, h, w)
Call = Callable[[nn.Module, Tensor, Tensor, Batch], Tensor]


def unet(network: nn.Module, noisy: Tensor, timestep: Tensor, told: Batch) -> Tensor:
    """Call a UNet2DConditionModel, in the dtype of the latents; sizes stay in float32, which holds them exactly."""
    text, added = told["text"].to(noisy.dtype), None
    if "pooled" in told:
        added = {"text_embeds": told["pooled"].to(noisy.dtype), "time_ids": told["time_ids"]}
    return network(noisy, timestep, text, added_cond_kwargs=added).sample


def sd3(network: nn.Module, noisy: Tensor, timestep: Tensor, told: Batch) -> Tensor:
    """Call an SD3Transformer2DModel."""
    text, pooled = (told[name].to(noisy.dtype) for name in ("text", "pooled"))
    words = {"encoder_hidden_states": text, "pooled_projections": pooled}
    return network(noisy, timestep=timestep * THOUSAND, **words).sample


def flux(network: nn.Module, noisy: Tensor, timestep: Tensor, told: Batch) -> Tensor:
    """Call a FluxTransformer2DModel, which sees 2 x 2 places as one; distilled guidance is at 1, where it is off."""
    text, pooled = (told[name].to(noisy.dtype) for name in ("text", "pooled"))
    rows, columns = noisy.shape[2:]
    config: Any = network.config
    predicted = network(
        packed(noisy),
        encoder_hidden_states=text,
        pooled_projections=pooled,
        timestep=timestep,
        guidance=torch.ones_like(timestep) if config.guidance_embeds else None,
        img_ids=FluxPipeline._prepare_latent_image_ids(1, rows // 2, columns // 2, noisy.device, noisy.dtype),
        txt_ids=noisy.new_zeros(text.shape[1], 3),
    ).sample
    return unpacked(predicted, rows, columns)


def flux2(network: nn.Module, noisy: Tensor, timestep: Tensor, told: Batch) -> Tensor:
    """Call a Flux2Transformer2DModel, which in FLUX.2 klein is told no guidance; elsewhere it is at 1, where it is off.

    A token lies at four coordinates: of a picture rows and columns are the second and third, of a text its place is the
    last.
    """
    text = told["text"].to(noisy.dtype)
    rows, columns = noisy.shape[2:]
    config: Any = network.config
    predicted = network(
        noisy.flatten(2).transpose(1, 2),
        encoder_hidden_states=text,
        timestep=timestep,
        guidance=torch.ones_like(timestep) if config.guidance_embeds else None,
        img_ids=_grid(1, rows, columns, 1, device=noisy.device),
        txt_ids=_grid(1, 1, 1, text.shape[1], device=noisy.device),
    ).sample
    return predicted.transpose(1, 2).unflatten(2, (rows, columns))


def _grid(*sides: int, device: torch.device) -> Tensor:
    """Return all places of a grid (n, axes), the last axis fastest."""
    return torch.cartesian_prod(*(torch.arange(side, device=device) for side in sides))


def qwen_image(network: nn.Module, noisy: Tensor, timestep: Tensor, told: Batch) -> Tensor:
    """Call a QwenImageTransformer2DModel, which sees 2 x 2 places as one; fillings of captions are masked."""
    rows, columns = noisy.shape[2:]
    whole = bool((told["words"] == told["text"].shape[1]).all())
    predicted = network(
        packed(noisy),
        encoder_hidden_states=told["text"].to(noisy.dtype),
        encoder_hidden_states_mask=None if whole else told_of(told),
        timestep=timestep,
        img_shapes=[[(1, rows // 2, columns // 2)]] * len(noisy),
    ).sample
    return unpacked(predicted, rows, columns)


def zimage(network: nn.Module, noisy: Tensor, timestep: Tensor, told: Batch) -> Tensor:
    """Call a ZImageTransformer2DModel: lists in and out, time the other way round, and the way to the picture out."""
    captions = as_long_as_they_are(told | {"text": told["text"].to(noisy.dtype)})
    pictures = list(noisy.unsqueeze(2).unbind())  # each a film of one picture
    return -torch.stack(network(pictures, 1 - timestep, captions).sample).squeeze(2)
