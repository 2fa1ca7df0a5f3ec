"""Pictures to latents and back, by a frozen VAE in its own dtype."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor
from torch.nn import functional

from core.method.backbones.images.packing import unpacked

PATCH = 2  # places a side that are one in FLUX.2


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

    def pictures(self, drawn: Tensor, rows: int, columns: int) -> Sequence[Image.Image]:
        """Return the pictures of what a pipeline has drawn, `rows` x `columns` of our latents each."""
        return self._decoded(drawn / self.factor + self.shift)

    @torch.no_grad()
    def _decoded(self, own: Tensor) -> Sequence[Image.Image]:
        """Return the pictures of what the VAE takes."""
        decoded = self.vae.decode(own.to(self.vae.dtype), return_dict=False)[0]
        return self._processor.postprocess(decoded, output_type="pil")


class PackedLatents(Latents):
    """Latents that a pipeline draws packed."""

    def pictures(self, drawn: Tensor, rows: int, columns: int) -> Sequence[Image.Image]:
        """Return the pictures of what a pipeline has drawn, `rows` x `columns` of our latents each."""
        return super().pictures(unpacked(drawn, rows, columns), rows, columns)


class PatchedLatents(Latents):
    """Latents of which 2 x 2 places are one with four times the channels, each normed by the VAE's running statistics.

    FLUX.2 klein's pipeline gives them back as the VAE has them, and that of FLUX.2-dev as they are, place by place.
    """

    def __init__(self, vae: AutoencoderKLFlux2) -> None:
        self.vae = vae.requires_grad_(False).eval()
        self.channels = int(vae.config.latent_channels) * PATCH**2
        self.pixels = 2 ** (len(vae.config.block_out_channels) - 1) * PATCH
        self._processor = VaeImageProcessor(vae_scale_factor=self.pixels)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and spread (n, c, h, w) of the latents of pictures (n, 3, H, W) in -1..1."""
        latent = self.vae.encode(pixels.to(self.vae.device, self.vae.dtype)).latent_dist
        mean, spread = self._norm()
        place, width = (functional.pixel_unshuffle(each, PATCH) for each in (latent.mean, latent.std))
        return (place - mean) / spread, width / spread

    def pictures(self, drawn: Tensor, rows: int, columns: int) -> Sequence[Image.Image]:
        """Return the pictures of what a pipeline has drawn, `rows` x `columns` of our latents each."""
        if drawn.ndim == 3:  # pictures, places, channels
            mean, spread = self._norm()
            normed = drawn.transpose(1, 2).unflatten(2, (rows, columns))
            drawn = functional.pixel_shuffle(normed * spread.to(normed) + mean.to(normed), PATCH)
        return self._decoded(drawn)

    def _norm(self) -> tuple[Tensor, Tensor]:
        """Return the mean and the spread of each channel of a patch, (1, c, 1, 1)."""
        mean, variance = (each.view(1, -1, 1, 1) for each in (self.vae.bn.running_mean, self.vae.bn.running_var))
        return mean, (variance + self.vae.config.batch_norm_eps).sqrt()


class NormedLatents(Latents):
    """Latents of a VAE of films, here of one picture each, of which every channel is normed by its mean and spread.

    A pipeline draws them packed.
    """

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
    def pictures(self, drawn: Tensor, rows: int, columns: int) -> Sequence[Image.Image]:
        """Return the pictures of what a pipeline has drawn, `rows` x `columns` of our latents each."""
        latents = unpacked(drawn, rows, columns)
        own = (latents * self._spread.to(latents) + self._mean.to(latents)).to(self.vae.dtype)
        decoded = self.vae.decode(own.unsqueeze(2), return_dict=False)[0][:, :, 0]
        return self._processor.postprocess(decoded, output_type="pil")
