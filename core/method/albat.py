"""ALBAT: train surrogates on the references, score backbone data with them, train the adapter on both, stop in time.

Three generators; each yields what happens and returns its result. They own no files, clocks or settings, so whoever
drives them logs, saves, cancels (by closing them) or stops asking.
"""

from __future__ import annotations

from collections.abc import Generator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

from torch import Tensor

from core.method.backbone import Backbone, Batch, count
from core.method.batches import Captions, fold_batches, mixed_batches
from core.method.finalrun import FinalRun, Outcome
from core.method.lora import Adapter
from core.method.scoring import Progress, Scoring, score_pool
from core.method.surrogate import SurrogateCurves, evaluation_grid, folds, near_duplicates
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


def train_surrogate(backbone: Backbone, references: Batch, p: Parameters) -> Generator[Step, None, Surrogate]:
    """Train K surrogates in one pass, each blind to one fold, until held-out loss has clearly turned up.

    Losses in a Step are one for each surrogate; on the evaluation grid it also holds T and H averaged over them.
    """
    held = folds(count(references), p.folds, p.seed, near_duplicates(references))
    held = held if len(held) > 1 else [[]]
    curves = SurrogateCurves(tuple(map(tuple, held)))
    trained = [[i for i in range(count(references)) if i not in part] for part in held]
    budget = p.surrogate_steps if curves.holds_out else min(p.surrogate_steps, WEAK_STEPS)
    adapter = backbone.lora.new(p.rank, p.alpha, runs=len(held), seed=p.seed)
    draws = backbone.fixed_draws(p.draws_eval, count(references), p.seed)
    batches = fold_batches(backbone, references, trained, p.batch_size, _captions(backbone, p), p.seed)
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


def score_candidates(
    backbone: Backbone,
    surrogate: Surrogate,
    references: Batch,
    candidates: Batch,
    p: Parameters,
    sources: Sequence[str],
) -> Generator[Progress, None, Scoring]:
    """Score a share `p.sample_ratio` of the candidates, select the best and choose gamma; see scoring.py."""
    held = surrogate.curves.folds
    return (yield from score_pool(backbone, surrogate.adapter, held, references, candidates, p, sources))


def train_adapter(
    backbone: Backbone,
    references: Batch,
    selected: Batch | None,
    p: Parameters,
    curves: SurrogateCurves,
    probe: Batch | None,
    snapshots: MutableMapping[int, Adapter],
    gamma: float,
    heldout: Batch | None = None,
) -> Generator[Step, None, Outcome]:
    """Train a fresh adapter on the mixture (A1) until the stopping rule says so, and name the step to publish.

    `snapshots` receives deep copies and afterwards holds every step that the outcome names and no others; the adapter
    to publish is `snapshots[outcome.published_step]`, never the live one. `probe` is backbone data outside the replay,
    on which forgetting shows; `heldout` is the user's own validation data. Step 0 is before training.
    """
    run = FinalRun(backbone, references, p, curves.evidence(), gamma if selected is not None else 0.0, snapshots)
    run.watch(probe=probe, heldout=heldout)
    adapter = backbone.lora.new(p.rank, p.alpha, seed=p.seed)
    batches = mixed_batches(
        backbone, references, selected, run.gamma, p.batch_size, _captions(backbone, p), p.seed
    )  # fmt: skip
    yield run.measure(Step(0, (), (), p.learning_rate), adapter)
    for step in train(backbone, adapter, batches, learning_rate=p.learning_rate, max_steps=run.budget):
        yield run.measure(step, adapter)
        if run.ended:
            break
    return run.outcome()


def _captions(backbone: Backbone, p: Parameters) -> Captions:
    if backbone.kind != "images" or not p.dropout_caption:
        return Captions(0.0, None)
    return Captions(p.dropout_caption, cast(EmbedsCaptions, backbone).embed([""]).float().cpu())


def _means(curves: SurrogateCurves) -> tuple[float, float | None]:
    return curves.mean_seen(), curves.mean_held_out()
