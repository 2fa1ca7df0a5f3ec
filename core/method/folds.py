"""K surrogates trained together, each blind to one fold of the references, with or without backbone data."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch
from torch import Tensor

from core.method.backbone import Backbone, Batch, Draw, count, take
from core.method.batches import Captions, mixed_batches, side_by_side
from core.method.lora import Adapter
from core.method.mixing import step_budget
from core.method.surrogate import SurrogateCurves, evaluation_grid
from core.method.train import Step, evaluate, train
from core.parameters import Parameters

WEAK_STEPS = 16  # without held-out references the surrogate must stay weak, or its gradients vanish (notes B.2)


@dataclass(frozen=True)
class Surrogate:
    """Hold the K surrogates at the step where held-out references were best, and how they got there."""

    adapter: Adapter  # R = K runs, on the CPU
    step: int
    curves: SurrogateCurves


class EmbedsCaptions(Protocol):
    """What a backbone needs for captions to be left out."""

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Return text embeddings (n, tokens, width)."""


def train_folds(
    backbone: Backbone,
    references: Batch,
    held: Sequence[Sequence[int]],
    p: Parameters,
    selected: Batch | None = None,
    gamma: float = 0.0,
) -> Generator[Step, None, Surrogate]:
    """Train a surrogate without each of the folds `held`, in one stack, until held-out loss has clearly turned up.

    `selected` fills a share gamma of every batch. Losses in a Step are one for each surrogate; on the evaluation grid
    it also holds T and H averaged over them.
    """
    curves = SurrogateCurves(tuple(map(tuple, held)), gamma)
    budget = step_budget(p.surrogate_steps, gamma) if curves.holds_out else min(p.surrogate_steps, WEAK_STEPS)
    adapter = backbone.lora.new(p.rank, p.alpha, runs=len(held), seed=p.seed)
    draws = backbone.fixed_draws(p.draws_eval, count(references), p.seed)
    batches = _batches(backbone, references, held, p, selected, gamma)
    grid, copies = set(evaluation_grid(budget)), {}
    curves.add(0, evaluate(backbone, adapter, references, draws))
    yield Step(0, curves.seen[0], (0.0,) * len(held), p.learning_rate, None, None, *_means(curves))
    for step in train(backbone, adapter, batches, learning_rate=p.learning_rate, max_steps=budget):
        if step.step in grid:
            curves.add(step.step, evaluate(backbone, adapter, references, draws))
            copies[step.step] = adapter.clone()
            copies = {at: copy for at, copy in copies.items() if at in curves.promising()}
            step = replace(step, reference_loss=curves.mean_seen(), heldout_loss=curves.mean_held_out())
        yield step
        if curves.turned:
            break
    evidence = curves.evidence()
    best = evidence.best_step if evidence else max(copies)
    return Surrogate(copies[best], best, curves)


def captions(backbone: Backbone, p: Parameters) -> Captions:
    """Return how captions are left out: for images only, where the job asks for it."""
    if backbone.kind != "images" or not p.dropout_caption:
        return Captions(0.0, None)
    return Captions(p.dropout_caption, cast(EmbedsCaptions, backbone).embed([""]).float().cpu())


def _batches(
    backbone: Backbone,
    references: Batch,
    held: Sequence[Sequence[int]],
    p: Parameters,
    selected: Batch | None,
    gamma: float,
) -> Iterator[tuple[Batch, Draw]]:
    """Return the stack's batches; a fold keeps its references' order and noise whatever is mixed in beside them."""
    left_out, everything = captions(backbone, p), range(count(references))
    streams = []
    for fold, part in enumerate(held):
        trained = take(references, torch.tensor([i for i in everything if i not in part]))
        seed = p.seed + fold
        streams.append(mixed_batches(backbone, trained, selected, gamma, p.batch_size, left_out, seed))
    return side_by_side(streams)


def _means(curves: SurrogateCurves) -> tuple[float, float | None]:
    return curves.mean_seen(), curves.mean_held_out()
