"""K surrogates trained together, each blind to one fold of the references, with or without backbone data."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch

from core.method.backbones.backbone import Backbone, Batch, count, take
from core.method.backbones.shapes import sizes_of
from core.method.lora.adapter import Adapter, from_stack
from core.method.protection.protection import NONE, Protection
from core.method.stopping.evidence import SurrogateCurves
from core.method.training.batches import Captions, MixedBatches, ShapesInTurn, SideBySide
from core.method.training.loop import Step, Training, evaluate
from core.method.training.resuming import NOWHERE, Keeper, State, saved
from core.parameters.parameters import Parameters
from core.parameters.schedule import evaluation_grid, extended, step_budget

WEAK_STEPS = 16  # without held-out references the surrogate must stay weak, or its gradients vanish


@dataclass(frozen=True)
class Surrogate:
    """Hold the K surrogates at the step where held-out references were best, and how they got there."""

    adapter: Adapter  # R = K runs, on the CPU
    step: int
    curves: SurrogateCurves


class KnowsNoCaption(Protocol):
    """What a backbone needs for captions to be left out."""

    def nothing(self) -> Batch:
        """Return one row that says what no caption says, on the CPU."""


def train_folds(
    backbone: Backbone,
    references: Batch,
    held: Sequence[Sequence[int]],
    p: Parameters,
    protection: Protection = NONE,
    keeper: Keeper = NOWHERE,
) -> Generator[Step, None, Surrogate]:
    """Train a surrogate without each of the folds `held`, in one stack, until held-out loss has clearly turned up.

    Each has the same `protection`, of its own references where that is by captions, of its own examples where these are
    `blind`. Losses in a Step are one for each surrogate; on the evaluation grid it also holds T and H averaged over
    them. With a `keeper` that has found a state, it goes on from there, if that held out the same references.
    """
    folds, found = FoldTraining(backbone, references, held, p, protection), keeper.found()
    if found is not None and folds.continues(found):
        folds.restore(found)
    yield from saved(folds.steps(), keeper, folds.state)
    return folds.result()


class FoldTraining:
    """A stack of surrogates in training: their curves so far, and copies of the steps that may turn out best."""

    def __init__(
        self,
        backbone: Backbone,
        references: Batch,
        held: Sequence[Sequence[int]],
        p: Parameters,
        protection: Protection,
    ) -> None:
        gamma = protection.share
        self.curves = SurrogateCurves(tuple(map(tuple, held)), gamma)
        holds_out = self.curves.holds_out
        self.budget = step_budget(p.surrogate_steps, gamma) if holds_out else min(p.surrogate_steps, WEAK_STEPS)
        # a budget that was asked for is kept
        self.longest = extended(self.budget) if holds_out and "surrogate_steps" in p.reasons else self.budget
        self.adapter = backbone.lora.new(p.rank, p.alpha, runs=len(held), seed=p.seed)
        self.copies: dict[int, Adapter] = {}
        self._backbone, self._references, self._rate = backbone, references, p.learning_rate
        self._draws = backbone.fixed_draws(p.draws_eval, count(references), p.seed, **sizes_of(references))
        self._grid = {*evaluation_grid(self.budget), *evaluation_grid(self.longest)}
        self._training = Training(
            backbone,
            self.adapter,
            _batches(backbone, references, held, p, protection),
            learning_rate=p.learning_rate,
            max_steps=self.longest,
            pieces=p.accumulation,
        )

    def _begin(self) -> Step:
        """Return step 0: the losses before training."""
        self._evaluate(0)
        curves = self.curves
        return Step(
            0,
            curves.seen[0],
            (0.0,) * len(curves.folds),
            self._rate,
            reference_loss=curves.mean_seen(),
            heldout_loss=curves.mean_held_out(),
        )

    def steps(self) -> Iterator[Step]:
        """Train on, from step 0 or where it stands, until held-out loss has turned up or the steps run out."""
        if not self.curves.steps:
            yield self._begin()
        while not self._done and (step := next(self._training, None)) is not None:
            if step.step in self._grid:
                self._evaluate(step.step)
                self.copies[step.step] = self._training.average.clone()
                self.copies = {at: copy for at, copy in self.copies.items() if at in self.curves.promising()}
                step = replace(step, reference_loss=self.curves.mean_seen(), heldout_loss=self.curves.mean_held_out())
            yield step

    @property
    def _done(self) -> bool:
        """Tell whether the curves have turned or the steps ran out; those are half as many more where they still fall.

        Once only: what falls on for ever has nothing to tell about when to stop.
        """
        if self._training.step == self.budget < self.longest and not self.curves.falling:
            return True
        return self.curves.turned

    def result(self) -> Surrogate:
        """Return the surrogates at the step where held-out references were best."""
        evidence = self.curves.evidence()
        best = evidence.best_step if evidence else max(self.copies)
        return Surrogate(self.copies[best], best, self.curves)

    def state(self) -> State:
        """Return the training, the curves, and the copies."""
        curves = State(
            {
                "folds": self.curves.folds,
                "steps": self.curves.steps,
                "seen": self.curves.seen,
                "held_out": self.curves.held_out,
            }
        )
        copies = State(kept={str(step): copy.tensors() for step, copy in self.copies.items()})
        return State.of({"training": self._training.state(), "curves": curves, "copies": copies})

    def continues(self, state: State) -> bool:
        """Tell whether a state is that of a training of the same folds.

        A version with other rules for near-duplicates may have held out other texts, also one that did not say which.
        """
        folds = state.part("curves").values.get("folds")
        return "mean" in self._references if folds is None else tuple(map(tuple, folds)) == self.curves.folds

    def restore(self, state: State) -> None:
        """Go to where another training of the same folds stood."""
        self._training.restore(state.part("training"))
        rows = state.part("curves").values
        self.curves.steps[:] = rows["steps"]
        self.curves.seen[:] = map(tuple, rows["seen"])
        self.curves.held_out[:] = map(tuple, rows["held_out"])
        rank, alpha = self.adapter.rank, self.adapter.alpha
        kept = state.part("copies").kept
        self.copies = {int(step): from_stack(tensors, rank, alpha) for step, tensors in kept.items()}

    def _evaluate(self, step: int) -> None:
        self.curves.add(step, evaluate(self._backbone, self._training.average, self._references, self._draws))


def captions(backbone: Backbone, p: Parameters) -> Captions:
    """Return how captions are left out: for images only, where the job asks for it."""
    if backbone.kind != "images" or not p.dropout_caption:
        return Captions(0.0, None)
    return Captions(p.dropout_caption, cast(KnowsNoCaption, backbone).nothing())


def _batches(
    backbone: Backbone, references: Batch, held: Sequence[Sequence[int]], p: Parameters, protection: Protection
) -> SideBySide:
    """Return the stack's batches; a fold keeps its references' order and noise whatever protects beside them."""
    left_out, everything = captions(backbone, p), range(count(references))
    streams = []
    for fold, part in enumerate(held):
        trained = take(references, torch.tensor([i for i in everything if i not in part]))
        seed = p.seed + fold
        turns = ShapesInTurn.of(references, p.seed)  # not those of `trained`: all runs of a step have one shape
        own = protection.of_fold(fold)
        streams.append(MixedBatches(backbone, trained, own, p.batch_size, left_out, seed, turns))
    return SideBySide(streams)
