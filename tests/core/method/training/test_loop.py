"""The loop fits, stops on broken losses, and trains stacked runs exactly as separate ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from core.errors import JobFailure
from core.method.backbones.backbone import Backbone, Batch, Draw, tile, tile_draw
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.training.loop import Training, evaluate
from core.parameters.schedule import EVALUATED_AT_ONCE

TEXTS = [{"text": "a small cat."}, {"text": "two dogs and a fish"}, {"text": "why not?"}]


def batches(backbone: Backbone, parts: list[Batch], seed: int = 0) -> Iterator[tuple[Batch, Draw]]:
    """The same noise for every run, each run its own examples."""
    generator = torch.Generator().manual_seed(seed)
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    examples = len(next(iter(parts[0].values())))
    while True:
        yield joined, tile_draw(backbone.random_draw(examples, generator), len(parts))


def test_training_lowers_the_loss(tiny_language: LanguageBackbone) -> None:
    batch = tiny_language.encode(TEXTS)
    adapter = tiny_language.lora.new(4, 8.0)
    before = evaluate(tiny_language, None, batch, [Draw()]).mean()
    steps = list(Training(tiny_language, adapter, batches(tiny_language, [batch]), learning_rate=1e-2, max_steps=20))
    assert [step.step for step in steps] == list(range(1, 21))
    assert evaluate(tiny_language, adapter, batch, [Draw()]).mean() < 0.9 * before


def test_stacked_runs_are_exactly_separate_runs(tiny_diffusion: DiffusionBackbone) -> None:
    generator = torch.Generator().manual_seed(3)
    parts = [
        {
            "mean": torch.randn(2, 4, 8, 8, generator=generator),
            "std": torch.zeros(2, 4, 8, 8),
            **tiny_diffusion.conditions(words),
        }
        for words in (["a cat", "a dog"], ["one", "two"], ["x", "y"])
    ]
    stacked = tiny_diffusion.lora.new(4, 4.0, runs=3, seed=5)
    together = list(Training(tiny_diffusion, stacked, batches(tiny_diffusion, parts), learning_rate=1e-3, max_steps=4))
    for run, part in enumerate(parts):
        alone = tiny_diffusion.lora.new(4, 4.0, seed=5)
        steps = list(Training(tiny_diffusion, alone, batches(tiny_diffusion, [part]), learning_rate=1e-3, max_steps=4))
        assert steps[-1].loss[0] == pytest.approx(together[-1].loss[run], abs=1e-5)
        for ours, theirs in zip(stacked.select(run).parameters(), alone.parameters(), strict=True):
            # a step is 1e-3 however small the gradient: where that is all but zero, its rounding shows in the step
            assert torch.allclose(ours, theirs, atol=5e-5)


def test_a_loss_that_is_not_a_number_ends_the_job_with_a_code(tiny_diffusion: DiffusionBackbone) -> None:
    broken = {
        "mean": torch.full((1, 4, 8, 8), torch.nan),
        "std": torch.zeros(1, 4, 8, 8),
        **tiny_diffusion.conditions(["a cat"]),
    }
    with pytest.raises(JobFailure) as failure:
        list(
            Training(
                tiny_diffusion,
                tiny_diffusion.lora.new(2, 2.0),
                batches(tiny_diffusion, [broken]),
                learning_rate=1e-3,
                max_steps=3,
            )
        )
    assert failure.value.code == "diverged"


def test_a_gradient_that_is_not_a_number_ends_the_job_before_it_changes_a_weight(
    tiny_language: LanguageBackbone,
) -> None:
    adapter = tiny_language.lora.new(4, 8.0)
    before = adapter.clone()
    next(iter(adapter.up.values())).register_hook(lambda gradient: gradient * torch.inf)
    training = Training(
        tiny_language, adapter, batches(tiny_language, [tiny_language.encode(TEXTS)]), learning_rate=1e-2, max_steps=3
    )
    with pytest.raises(JobFailure, match="gradient was no longer a number at step 1") as failure:
        next(training)
    assert failure.value.code == "diverged"
    for now, then in zip(adapter.parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then)


def test_the_gradient_of_each_run_is_clipped_by_its_own_norm(tiny_language: LanguageBackbone) -> None:
    batch = tiny_language.encode(TEXTS)
    adapter = tiny_language.lora.new(4, 8.0, runs=2)
    (step,) = Training(
        tiny_language, adapter, batches(tiny_language, [batch, batch]), learning_rate=1e-2, max_steps=1, clip=1e-9
    )
    assert step.gradient_norm[0] == pytest.approx(step.gradient_norm[1])
    assert step.gradient_norm[0] > 1e-3


def test_evaluation_is_the_same_for_the_same_noise_and_leaves_no_gradient(tiny_diffusion: DiffusionBackbone) -> None:
    batch = {
        "mean": torch.randn(3, 4, 8, 8),
        "std": torch.zeros(3, 4, 8, 8),
        **tiny_diffusion.conditions(["a", "b", "c"]),
    }
    adapter = tiny_diffusion.lora.new(2, 2.0, runs=2)
    draws = tiny_diffusion.fixed_draws(4, 3, seed=1)
    first, second = (evaluate(tiny_diffusion, adapter, batch, draws) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (2, 3)
    assert not first.requires_grad
    tiled = tile(batch, 1)
    assert torch.allclose(evaluate(tiny_diffusion, None, tiled, draws)[0], first[0], atol=1e-6)


def test_texts_of_like_length_are_evaluated_together_and_told_in_their_order(tiny_language: LanguageBackbone) -> None:
    short, long = ({"text": "ab"}, {"text": "ab" * 23})
    texts = [short, long] * EVALUATED_AT_ONCE
    batch, widths = tiny_language.encode(texts), list[int]()
    handle = tiny_language.model.register_forward_pre_hook(
        lambda _module, _inputs, named: widths.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    found = evaluate(tiny_language, None, batch, [Draw()])[0]
    handle.remove()
    assert widths == [3, 47]  # unsorted both pieces would be as wide as the longest text
    alone = [float(evaluate(tiny_language, None, tiny_language.encode([text]), [Draw()])) for text in (short, long)]
    assert torch.allclose(found, torch.tensor(alone).repeat(EVALUATED_AT_ONCE), atol=1e-5)
