"""Fit the autoencoder and put its latents on the scale the noise schedule expects."""

import math
from collections.abc import Iterator

import torch
from diffusers import AutoencoderKL
from torch.nn.utils import clip_grad_norm_

BATCH = 32
PEAK_RATE, FLOOR_RATE, WARM_UP = 3e-3, 1e-5, 50
KL_WEIGHT = 1e-4


def learning_rate(step: int, steps: int, peak: float, floor: float, warm_up: int) -> float:
    """Follow a linear warm-up and then a cosine to the floor."""
    cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
    return peak * min(1.0, (step + 1) / warm_up) * cosine + floor


def step_generator(seed: int, step: int) -> torch.Generator:
    """Seed each step by its number, so a resumed run draws what an unbroken one would."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def short_floats() -> torch.autocast:
    """Compute in bfloat16 where the CPU has wide vectors for it; elsewhere that is emulated, and 20 times slower."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.backends.cpu.get_cpu_capability() == "AVX512")


def vae_loss(vae: AutoencoderKL, images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Add absolute, squared and a weak KL error; the absolute part keeps edges and colours."""
    with short_floats():
        posterior = vae.encode(images).latent_dist
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    noise = torch.randn(mean.shape, generator=draw)
    with short_floats():
        decoded = vae.decode(mean + noise * torch.exp(0.5 * logvar)).sample
    error = decoded.float() - images
    divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return error.abs().mean() + error.square().mean() + KL_WEIGHT * divergence


def vae_steps(
    vae: AutoencoderKL,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    span: range,
    seed: int,
    rate: float = PEAK_RATE,
    batch: int = BATCH,
) -> Iterator[tuple[int, float]]:
    """Train for the steps of the span and yield each finished step and its loss."""
    both = torch.cat([images, images.flip(3)])
    for step in span:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, span.stop, rate, FLOOR_RATE, WARM_UP)
        draw = step_generator(seed, step)
        chosen = torch.randint(0, len(both), (batch,), generator=draw)
        loss = vae_loss(vae, both[chosen], draw)
        loss.backward()
        clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield step + 1, loss.item()


@torch.no_grad()
def encode_all(vae: AutoencoderKL, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode images into posterior means and standard deviations, each (N, c, h, w)."""
    parts = [vae.encode(batch).latent_dist for batch in images.split(128)]
    return torch.cat([p.mean for p in parts]), torch.cat([p.std for p in parts])


@torch.no_grad()
def standardise_latents(vae: AutoencoderKL, images: torch.Tensor) -> None:
    """Fold each channel's mean and deviation into the 1x1 convolutions around the latents.

    The pipeline offers one scaling factor and no shift, and images on white have latents far from
    zero mean; after the fold each channel has zero mean and unit variance and the factor is 1.
    """
    means, _ = encode_all(vae, images)
    shift, scale = means.mean((0, 2, 3)), means.std((0, 2, 3))
    channels = len(shift)
    enter, leave = vae.quant_conv, vae.post_quant_conv
    # The first half of the encoder's channels are means, the second half log variances.
    enter.weight[:channels] /= scale[:, None, None, None]
    enter.bias[:channels] = (enter.bias[:channels] - shift) / scale
    enter.bias[channels:] -= 2 * scale.log()
    leave.bias += leave.weight[:, :, 0, 0] @ shift
    leave.weight *= scale[None, :, None, None]


@torch.no_grad()
def reconstruction_error(vae: AutoencoderKL, images: torch.Tensor) -> float:
    """Measure the mean squared error of decoding the posterior means, for pixels in [-1, 1]."""
    means, _ = encode_all(vae, images)
    decoded = torch.cat([vae.decode(batch).sample for batch in means.split(128)])
    return (decoded - images).square().mean().item()
