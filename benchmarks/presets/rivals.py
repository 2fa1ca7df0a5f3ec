"""What a careful person would get without the service: plain training in a grid over rank, rate and steps."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.presets.judging import Phrase, untouched
from benchmarks.presets.sets import PresetSet
from core.method.backbones.backbone import Batch, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter
from core.method.protection.protection import Protection
from core.method.training.batches import Captions, MixedBatches
from core.method.training.loop import Training

MARK = ", sks"  # the trigger at the end of a caption, where it disturbs the backbone least
REPLAYED = 128  # backbone examples that a run with a share of them draws from
NO_CAPTION = 0.05  # share of captions left out


@dataclass(frozen=True)
class Rival:
    """One run of the grid; alpha is the rank."""

    rank: int
    learning_rate: float
    batch_size: int
    steps: tuple[int, ...]  # at which it is judged; the last is its budget
    gamma: float = 0.0  # share of batch slots with backbone data, drawn at random
    alpha: float = 1.0  # alpha / rank

    def settings(self) -> dict[str, Any]:
        """Return what is written beside its results."""
        return {name: value for name, value in asdict(self).items() if name != "steps"}


def grid(chosen: PresetSet) -> list[Rival]:
    """Return the runs that a careful person would try for a set."""
    steps: tuple[int, ...]
    if chosen.kind == "images":
        pairs, steps, batch = itertools.product((8, 16), (1e-3, 2e-3, 3e-3)), (60, 100, 150, 200, 300), 6
    else:
        pairs, steps, batch = itertools.product((8, 16), (5e-4, 1e-3)), (8, 12, 16, 24, 32, 48), 4
    return [Rival(rank, rate, batch, steps) for rank, rate in pairs]


def marked(content: str) -> str:
    """Return the prompt for a content with the trigger at its end."""
    return f"{untouched(content)}{MARK}"


def phrase_of(chosen: PresetSet) -> Phrase:
    """Return how a rival's adapter is prompted."""
    return marked if chosen.kind == "images" else str


def train(
    rival: Rival, chosen: PresetSet, backbone: DiffusionBackbone | LanguageBackbone, pool: Batch | None, seed: int
) -> Iterator[tuple[int, Adapter]]:
    """Yield the adapter in training at every step at which it is to be judged; `pool` is replayed where gamma is."""
    adapter = backbone.lora.new(rival.rank, rival.alpha * rival.rank, seed=seed)
    nothing = backbone.nothing() if isinstance(backbone, DiffusionBackbone) else None
    replayed = _drawn(pool, seed) if pool is not None and rival.gamma else None
    batches = MixedBatches(
        backbone,
        backbone.encode(items(chosen)),
        Protection(rival.gamma, examples=replayed),
        rival.batch_size,
        Captions(NO_CAPTION, nothing),
        seed,
    )
    training = Training(
        backbone, adapter, batches, learning_rate=rival.learning_rate, max_steps=max(rival.steps), weight_decay=0.0
    )
    for step in training:
        if step.step in rival.steps:
            yield step.step, adapter


def items(chosen: PresetSet) -> Sequence[dict[str, Any]]:
    """Return the references as Backbone.encode takes them."""
    if chosen.kind == "texts":
        return chosen.chats()
    pairs = zip(chosen.pictures(), chosen.words, strict=True)
    return [{"image": picture, "caption": marked(words)} for picture, words in pairs]


def _drawn(pool: Batch, seed: int) -> Batch:
    count = len(next(iter(pool.values())))
    return take(pool, torch.tensor(random.Random(seed).sample(range(count), min(REPLAYED, count))))
