"""Pictures to latents and back, by a frozen VAE in its own dtype."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, AutoencoderKLQwenImage
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


class NormedLatents(PackedLatents):
    """Latents of a VAE of films, here of one picture each, of which every channel is normed by its mean and spread."""

    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        self.vae = vae.requires_grad_(False).eval()
        self.channels, self.pixels = int(vae.config.z_dim), int(2 ** len(vae.config.temperal_downsample))
        self._mean, self._spread = (
            torch.tensor(each).view(1, -1, 1, 1) for each in (vae.config.latents_mean, vae.config.latents_std)
        )
        self._processor = VaeImageProcessor(vae_scale_factor=self.pixels)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and spread (n, c, h, w) of the latents of pictures (n, 3, H, W) in -1..1."""
        latent = self.vae.encode(pixels.unsqueeze(2).to(self.vae.device, self.vae.dtype)).latent_dist
        mean, spread = self._mean.to(latent.mean), self._spread.to(latent.mean)
        return (latent.mean.squeeze(2) - mean) / spread, latent.std.squeeze(2) / spread

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Sequence[Image.Image]:
        """Return the pictures of latents."""
        own = (latents * self._spread.to(latents) + self._mean.to(latents)).to(self.vae.dtype)
        decoded = self.vae.decode(own.unsqueeze(2), return_dict=False)[0][:, :, 0]
        return self._processor.postprocess(decoded, output_type="pil")
