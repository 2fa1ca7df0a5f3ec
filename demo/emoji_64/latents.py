"""What both networks learn from: the latents of the pool, and what its captions say, encoded once."""

import random
from dataclasses import dataclass

import torch
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from demo.emoji_ldm.fit_vae import step_generator
from demo.emoji_ldm.model import token_ids
from demo.emoji_ldm.pool import PoolItem, draw_caption, every_caption

BATCH = 32
MIRROR_RATE = 0.3


class Captions:
    """What every caption of the pool says: `states` (captions, tokens, width), the last but one, and `whole`."""

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

    def of(self, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the states (B, tokens, width) and the whole (B, width)."""
        rows = torch.tensor([self.rows[caption] for caption in captions])
        return self.states[rows], self.whole[rows]


@dataclass(frozen=True)
class Batch:
    """What a step learns from, and the draw that its noise follows from."""

    latents: torch.Tensor  # (B, c, h, w)
    states: torch.Tensor  # (B, tokens, width)
    whole: torch.Tensor  # (B, width)
    draw: torch.Generator


@dataclass(frozen=True)
class LatentPool:
    """Hold the posterior of every pool image and of its mirror image, and the captions."""

    means: torch.Tensor  # (2, N, c, h, w): as drawn, mirrored
    deviations: torch.Tensor  # the same shape
    items: list[PoolItem]
    captions: Captions

    def batch(self, seed: int, step: int) -> Batch:
        """Draw latents and captions for a step."""
        draw, words = step_generator(seed, step), random.Random(f"{seed}/{step}")
        chosen = torch.randint(0, len(self.items), (BATCH,), generator=draw)
        mirrored = (torch.rand(BATCH, generator=draw) < MIRROR_RATE).long()
        means = self.means[mirrored, chosen]
        latents = means + self.deviations[mirrored, chosen] * torch.randn(means.shape, generator=draw)
        return Batch(latents, *self.captions.of([draw_caption(self.items[i], words) for i in chosen.tolist()]), draw)
