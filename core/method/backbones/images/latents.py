"""Pictures to latents and back, by a frozen VAE in its own dtype."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor

from core.method.backbones.images.packing import unpacked


class Latents:
    """A frozen VAE, and how a network's latents are its own: (z - shift) times a factor."""

    def __init__(self, vae: AutoencoderKL) -> None:
        self.vae = vae.requires_grad_(False).eval()
        self.factor, self.shift = float(vae.config.scaling_factor), float(vae.config.shift_factor or 0.0)
        self.channels = int(vae.config.latent_channels)
        self.pixels = 2 ** (len(vae.config.block_out_channels) - 1)  # a latent's side in pixels
        self._processor = VaeImageProcessor(vae_scale_factor=self.pixels)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and spread (n, c, h, w) of the latents of pictures (n, 3, H, W) in -1..1."""
        latent = self.vae.encode(pixels.to(self.vae.device, self.vae.dtype)).latent_dist
        return (latent.mean - self.shift) * self.factor, latent.std * self.factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Sequence[Image.Image]:
        """Return the pictures of latents."""
        decoded = self.vae.decode((latents / self.factor + self.shift).to(self.vae.dtype), return_dict=False)[0]
        return self._processor.postprocess(decoded, output_type="pil")

    def unpacked(self, drawn: Tensor, rows: int, columns: int) -> Tensor:
        """Return what a pipeline has drawn as latents (n, c, h, w)."""
        return drawn


class PackedLatents(Latents):
    """Latents that a pipeline draws packed."""

    def unpacked(self, drawn: Tensor, rows: int, columns: int) -> Tensor:
        """Return what a pipeline has drawn as latents (n, c, h, w)."""
        return unpacked(drawn, rows, columns)
