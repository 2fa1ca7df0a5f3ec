"""Train the transformer on the latents of the pool, told by a frozen text encoder."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers import SD3Transformer2DModel
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from demo.emoji_ldm.fit_unet import Average, averaged_steps
from demo.emoji_ldm.fit_vae import step_generator
from demo.emoji_ldm.model import token_ids
from demo.emoji_ldm.pool import PoolItem, draw_caption, every_caption

BATCH = 32
PEAK_RATE, FLOOR_RATE, WARM_UP = 1e-3, 1e-5, 200
MIRROR_RATE = 0.3
TIMESTEPS = 1000

Told = tuple[torch.Tensor, torch.Tensor]  # tokens (B, 2 n, 2 width) and the whole (B, 2 width)


class Captions:
    """What every caption of the pool says, as StableDiffusion3Pipeline would have it without a T5."""

    @torch.no_grad()
    def __init__(self, encoder: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer, items: list[PoolItem]) -> None:
        captions = ["", *dict.fromkeys(every_caption(items))]
        self.rows = {caption: row for row, caption in enumerate(captions)}
        parts = [
            encoder(token_ids(tokenizer, captions[i : i + 64]), output_hidden_states=True)
            for i in range(0, len(captions), 64)
        ]
        self.states = torch.cat([part.hidden_states[-2] for part in parts])
        self.whole = torch.cat([part.text_embeds for part in parts])

    def of(self, captions: list[str]) -> Told:
        """Both encoders are one here, and where a T5 would speak there are as many zeros."""
        rows = torch.tensor([self.rows[caption] for caption in captions])
        twice = torch.cat([self.states[rows]] * 2, dim=-1)
        return torch.cat([twice, torch.zeros_like(twice)], dim=1), torch.cat([self.whole[rows]] * 2, dim=-1)


@dataclass(frozen=True)
class LatentPool:
    """Hold the posterior of every pool image and of its mirror image, and the captions."""

    means: torch.Tensor  # (2, N, c, h, w): as drawn, mirrored
    deviations: torch.Tensor  # the same shape
    items: list[PoolItem]
    captions: Captions

    def batch(self, seed: int, step: int) -> tuple[torch.Tensor, Told, torch.Generator]:
        """Draw latents (B, c, h, w) and what is told of them for a step."""
        draw, words = step_generator(seed, step), random.Random(f"{seed}/{step}")
        chosen = torch.randint(0, len(self.items), (BATCH,), generator=draw)
        mirrored = (torch.rand(BATCH, generator=draw) < MIRROR_RATE).long()
        means = self.means[mirrored, chosen]
        latents = means + self.deviations[mirrored, chosen] * torch.randn(means.shape, generator=draw)
        told = self.captions.of([draw_caption(self.items[i], words) for i in chosen.tolist()])
        return latents, told, draw


def flow_loss(
    transformer: SD3Transformer2DModel, latents: torch.Tensor, told: Told, draw: torch.Generator
) -> torch.Tensor:
    """Compute the error of the velocity n - x at (1 - s) x + s n, with s logit-normal (Esser et al. 2403.03206)."""
    device = transformer.device
    noise = torch.randn(latents.shape, generator=draw)
    place = torch.randn(len(latents), generator=draw).sigmoid()
    share = place[:, None, None, None]
    noisy, wanted = (1 - share) * latents + share * noise, noise - latents
    predicted = transformer(
        hidden_states=noisy.to(device),
        timestep=(TIMESTEPS * place).to(device),
        encoder_hidden_states=told[0].to(device),
        pooled_projections=told[1].to(device),
    ).sample
    return (predicted.float() - wanted.to(device)).square().mean()


def transformer_steps(
    transformer: SD3Transformer2DModel,
    optimizer: torch.optim.Optimizer,
    average: Average,
    pool: LatentPool,
    span: range,
    seed: int,
) -> Iterator[tuple[int, float]]:
    """Train for the steps of the span and yield each finished step and its loss."""

    def loss(step: int) -> torch.Tensor:
        return flow_loss(transformer, *pool.batch(seed, step))

    return averaged_steps(loss, optimizer, average, span, (PEAK_RATE, FLOOR_RATE, WARM_UP))
