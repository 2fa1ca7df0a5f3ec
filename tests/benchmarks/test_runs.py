"""What the arms of an experiment are measured by is what a job would keep."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import torch

from benchmarks.runs import Arm, train_arms
from benchmarks.world import World
from core.method.backbones.texts.language import LanguageBackbone
from core.method.protection.protection import Protection
from core.method.training.batches import Captions, MixedBatches
from core.method.training.loop import Training

STEPS = 6


def test_losses_and_copies_of_an_arm_are_of_the_averaged_weights(tiny_language: LanguageBackbone) -> None:
    items = [{"prompt": "ab", "completion": text} for text in ("cd", "ef", "gh", "ij")]
    batch = tiny_language.encode(items)
    p = SimpleNamespace(rank=2, alpha=2.0, seed=1, batch_size=2, learning_rate=1e-2, draws_eval=1)
    world = SimpleNamespace(backbone=tiny_language, parameters=p, horizon=STEPS, grid=[0, STEPS])
    world.references = world.heldout = world.probe = world.pool = batch
    _, kept = train_arms(cast("World", world), {"plain": Arm("plain")}, keep=(STEPS,))
    adapter = tiny_language.lora.new(p.rank, p.alpha, seed=p.seed)
    batches = MixedBatches(tiny_language, batch, Protection(), p.batch_size, Captions(0.0, None), p.seed)
    training = Training(tiny_language, adapter, batches, learning_rate=p.learning_rate, max_steps=STEPS)
    list(training)
    copies = kept.adapter("plain", STEPS).parameters()
    for copy, average, newest in zip(copies, training.average.parameters(), adapter.parameters(), strict=True):
        assert torch.allclose(copy, average, atol=1e-6)
        assert not torch.allclose(copy, newest.detach(), atol=1e-6)
