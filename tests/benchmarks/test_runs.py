"""What the arms of an experiment are measured by is what a job would keep."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch

from benchmarks.runs import Arm, train_arms
from benchmarks.world import World
from core.method.backbones.backbone import Draw, count, take
from core.method.backbones.texts.language import LanguageBackbone
from core.method.protection.protection import Protection
from core.method.training.batches import Captions, MixedBatches
from core.method.training.loop import Training

STEPS = 6


def small(language: LanguageBackbone) -> World:
    """Return an experiment of four texts, a probe of two and two answers of the model's own."""
    items = [{"prompt": "ab", "completion": text} for text in ("cd", "ef", "gh", "ij")]
    own = [{"prompt": "kl", "completion": text} for text in ("mn", "opq")]
    batch = language.encode(items)
    p = SimpleNamespace(rank=2, alpha=2.0, seed=1, batch_size=2, learning_rate=1e-2, draws_eval=1)
    world = SimpleNamespace(backbone=language, parameters=p, horizon=STEPS, grid=[0, STEPS])
    world.references = world.heldout = world.pool = batch
    world.probe, world.unrelated = take(batch, torch.tensor([0, 1])), language.encode(own)
    return cast("World", world)


def test_losses_and_copies_of_an_arm_are_of_the_averaged_weights(tiny_language: LanguageBackbone) -> None:
    world = small(tiny_language)
    batch, p = world.references, world.parameters
    _, kept = train_arms(world, {"plain": Arm("plain")}, keep=(STEPS,))
    adapter = tiny_language.lora.new(p.rank, p.alpha, seed=p.seed)
    batches = MixedBatches(tiny_language, batch, Protection(), p.batch_size, Captions(0.0, None), p.seed)
    training = Training(tiny_language, adapter, batches, learning_rate=p.learning_rate, max_steps=STEPS)
    list(training)
    copies = kept.adapter("plain", STEPS).parameters()
    for copy, average, newest in zip(copies, training.average.parameters(), adapter.parameters(), strict=True):
        assert torch.allclose(copy, average, atol=1e-6)
        assert not torch.allclose(copy, newest.detach(), atol=1e-6)


def test_how_far_behaviour_moved_is_measured_on_the_probe_and_on_the_model_s_own_answers(
    tiny_language: LanguageBackbone,
) -> None:
    world = small(tiny_language)
    curves, kept = train_arms(world, {"plain": Arm("plain"), "again": Arm("again")}, keep=(STEPS,))
    end = kept.adapter("plain", STEPS)
    assert world.unrelated is not None
    for values, batch in ((curves["plain"].kept, world.probe), (curves["plain"].kept_own, world.unrelated)):
        with torch.no_grad(), tiny_language.lora.use(end, samples=count(batch)):
            alone = tiny_language.distance(batch, Draw()).mean()
        assert values == [pytest.approx(0, abs=1e-6), pytest.approx(float(alone), rel=1e-3)]
        assert values[1] > 1e-4
    assert curves["again"].kept_own == pytest.approx(curves["plain"].kept_own, rel=1e-4, abs=1e-6)
