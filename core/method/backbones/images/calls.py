"""How a network of pictures is called: its noisy latents, timesteps and all that it is told, in its own words."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from core.method.backbones.backbone import Batch

# network, noisy latents (N, c, h, w), timesteps (N,), what it is told: the prediction (N, c, h, w)
Call = Callable[[nn.Module, Tensor, Tensor, Batch], Tensor]


def unet(network: nn.Module, noisy: Tensor, timestep: Tensor, told: Batch) -> Tensor:
    """Call a UNet2DConditionModel, in the dtype of the latents; sizes stay in float32, which holds them exactly."""
    text, added = told["text"].to(noisy.dtype), None
    if "pooled" in told:
        added = {"text_embeds": told["pooled"].to(noisy.dtype), "time_ids": told["time_ids"]}
    return network(noisy, timestep, text, added_cond_kwargs=added).sample
