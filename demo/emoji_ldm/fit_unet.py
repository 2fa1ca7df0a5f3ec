"""Train the denoiser and the text encoder together on the latents of the pool."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch.nn.utils import clip_grad_norm_
from transformers import CLIPTextModel, CLIPTokenizer

from demo.emoji_ldm.fit_vae import learning_rate, short_floats, step_generator
from demo.emoji_ldm.model import token_ids
from demo.emoji_ldm.pool import PoolItem, draw_caption

BATCH = 32
PEAK_RATE, FLOOR_RATE, WARM_UP = 1.2e-3, 2e-5, 100
MIRROR_RATE = 0.3
EMA_DECAY = 0.998


@dataclass(frozen=True)
class LatentPool:
    """Hold the posterior of every pool image and of its mirror image, and the captions."""

    means: torch.Tensor  # (2, N, 4, 16, 16): as drawn, mirrored
    deviations: torch.Tensor  # the same shape
    items: list[PoolItem]
    tokenizer: CLIPTokenizer

    def batch(self, seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
        """Draw latents (B, 4, 16, 16) and token ids (B, 24) for a step."""
        draw, words = step_generator(seed, step), random.Random(f"{seed}/{step}")
        chosen = torch.randint(0, len(self.items), (BATCH,), generator=draw)
        mirrored = (torch.rand(BATCH, generator=draw) < MIRROR_RATE).long()
        means = self.means[mirrored, chosen]
        noise = torch.randn(means.shape, generator=draw)
        captions = [draw_caption(self.items[i], words) for i in chosen.tolist()]
        latents = means + self.deviations[mirrored, chosen] * noise
        return latents, token_ids(self.tokenizer, captions), draw


class Average:
    """Keep an exponential moving average of parameters."""

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        self.parameters = parameters
        self.values = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average; the decay grows with the step so the random start fades soon."""
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def copy_to(self, parameters: list[torch.nn.Parameter]) -> None:
        """Overwrite parameters with the average."""
        for parameter, value in zip(parameters, self.values, strict=True):
            parameter.copy_(value)


def denoising_loss(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    scheduler: DDPMScheduler,
    batch: tuple[torch.Tensor, torch.Tensor, torch.Generator],
) -> torch.Tensor:
    """Compute the epsilon prediction error at uniform timesteps."""
    latents, ids, draw = batch
    noise = torch.randn(latents.shape, generator=draw)
    steps = scheduler.config.num_train_timesteps
    timesteps = torch.randint(0, steps, (len(latents),), generator=draw)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    with short_floats():
        states = text_encoder(ids)[0]
        predicted = unet(noisy, timesteps, states).sample
    return (predicted.float() - noise).square().mean()


def unet_steps(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    scheduler: DDPMScheduler,
    optimizer: torch.optim.Optimizer,
    average: Average,
    pool: LatentPool,
    span: range,
    seed: int,
) -> Iterator[tuple[int, float]]:
    """Train for the steps of the span and yield each finished step and its loss."""

    def loss(step: int) -> torch.Tensor:
        return denoising_loss(unet, text_encoder, scheduler, pool.batch(seed, step))

    return averaged_steps(loss, optimizer, average, span, (PEAK_RATE, FLOOR_RATE, WARM_UP))


def averaged_steps(
    loss_of: Callable[[int], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    average: Average,
    span: range,
    rates: tuple[float, float, int],
) -> Iterator[tuple[int, float]]:
    """Train what is averaged for the steps of the span; `rates` are the peak, the floor and the warm-up."""
    for step in span:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, span.stop, *rates)
        loss = loss_of(step)
        loss.backward()
        clip_grad_norm_(average.parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(step)
        yield step + 1, loss.item()
