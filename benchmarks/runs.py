"""Train every arm of one experiment side by side, to the horizon; stopping rules are replayed on the curves later.

Shapes: R arms, n references, h held-out examples. All arms are one stack of adapters, so they share the initial
weights, and arms with the same gamma also the order of the references and the noise.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.updates import USUAL, ChangedTraining, Updates
from benchmarks.world import World
from core.method.backbones.backbone import Batch, Draw, count, take
from core.method.influence.gradients import per_sample_gradients
from core.method.lora.adapter import Adapter
from core.method.protection.keeping import kept_distance
from core.method.protection.protection import Protection
from core.method.stopping.similarity import CosineSimilarity
from core.method.training.batches import Captions, MixedBatches, SideBySide
from core.method.training.loop import evaluate

EVALUATION_SEED = 77  # the noise of every evaluation, the same for all arms and settings


@dataclass(frozen=True)
class Arm:
    """Say what one run replays: candidates of the pool, and the share gamma of the batch slots they get.

    Or how else it protects the backbone, and what it does with the plain run's updates.
    """

    name: str
    selected: tuple[int, ...] = ()
    gamma: float = 0.0
    left_out: tuple[int, ...] = ()  # references that this run does not train on
    protection: Protection | None = None  # None: replay of the selected
    updates: Updates = USUAL

    def protected(self, pool: Batch) -> Protection:
        """Return what fills its slots."""
        if self.protection is not None:
            return self.protection
        return Protection(self.gamma, examples=take(pool, torch.tensor(self.selected)) if self.selected else None)


@dataclass
class Curve:
    """Hold what one run showed: losses on the evaluation grid, cosine similarity at every step."""

    steps: list[int] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    heldout: list[float] = field(default_factory=list)
    probe: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)  # distance from the frozen backbone on the probe; texts only
    kept_own: list[float] = field(default_factory=list)  # the same on its own answers to unrelated prompts
    left_out: list[float] = field(default_factory=list)  # loss on the references that the arm left out
    signal: list[float] = field(default_factory=list)  # gradient signal to noise on the references; plain runs only
    similarity: list[float] = field(default_factory=list)  # index 0 is step 1
    seconds: float = 0.0  # this run's part of the stack's time


def train_arms(
    world: World, arms: Mapping[str, Arm], keep: tuple[int, ...] = (), *, lean: bool = False
) -> tuple[dict[str, Curve], Kept]:
    """Train all arms to the horizon; also return deep copies of the stack at the steps `keep`.

    `lean` leaves out what takes longest on the way: gradients' signal, and the distance from the frozen backbone.
    """
    began, p, backbone = time.monotonic(), world.parameters, world.backbone
    stack = backbone.lora.new(p.rank, p.alpha, runs=len(arms), seed=p.seed)
    curves, kept = {name: Curve() for name in arms}, Kept(list(arms), {})
    measure = _Measure(world, arms, curves, lean=lean)
    measure.losses(0, stack)
    batches = _side_by_side(world, list(arms.values()))
    similarity, grid = CosineSimilarity(backbone.lora.weights()), set(world.grid)
    updates, rate = [arm.updates for arm in arms.values()], p.learning_rate
    training = ChangedTraining(updates, backbone, stack, batches, learning_rate=rate, max_steps=world.horizon)
    for step in training:  # as in a job, losses and copies are of the averaged weights, similarity of the newest
        for curve, value in zip(curves.values(), similarity(stack).tolist(), strict=True):
            curve.similarity.append(value)
        if step.step in grid:
            measure.losses(step.step, training.average)
        if step.step in keep:
            kept.copies[step.step] = training.average.clone()
    for curve in curves.values():
        curve.seconds = (time.monotonic() - began) / len(arms)
    return curves, kept


@dataclass
class Kept:
    """Hold copies of the stack, so that pictures can be drawn from any arm at any kept step."""

    names: list[str]
    copies: dict[int, Adapter]

    def adapter(self, name: str, step: int) -> Adapter:
        """Return one arm's adapter at a kept step."""
        return self.copies[step].select(self.names.index(name))


class _Measure:
    """Evaluate the stack on references, held-out data and probe, always under the same noise."""

    def __init__(self, world: World, arms: Mapping[str, Arm], curves: Mapping[str, Curve], *, lean: bool) -> None:
        self.world, self.arms, self.curves = world, arms, curves
        sets = {"reference": world.references, "heldout": world.heldout, "probe": world.probe}
        self.sets = {name: self._with_draws(batch) for name, batch in sets.items()}
        told = world.backbone.kind == "texts" and not lean
        behaviour = {"kept": world.probe, "kept_own": world.unrelated} if told else {}
        self.lean = lean
        self.behaviour = {name: self._with_draws(batch) for name, batch in behaviour.items() if batch is not None}

    def _with_draws(self, batch: Batch) -> tuple[Batch, list[Draw]]:
        draws = self.world.parameters.draws_eval
        return batch, self.world.backbone.fixed_draws(draws, count(batch), EVALUATION_SEED)

    def losses(self, step: int, stack: Adapter) -> None:
        found = {name: evaluate(self.world.backbone, stack, *given) for name, given in self.sets.items()}
        for place, (name, curve) in enumerate(self.curves.items()):
            own = found["reference"][place]
            left_out = list(self.arms[name].left_out)
            curve.steps.append(step)
            curve.reference.append(_mean_without(own, left_out))
            curve.heldout.append(float(found["heldout"][place].mean()))
            curve.probe.append(float(found["probe"][place].mean()))
            if left_out:
                curve.left_out.append(float(own[left_out].mean()))
            if name == "none" and not self.lean:
                curve.signal.append(self._signal(stack.select(place).clone()))
        self._distances(stack)

    def _distances(self, stack: Adapter) -> None:
        for name, given in self.behaviour.items():
            found = kept_distance(self.world.backbone, stack, *given).mean(1).tolist()
            for curve, value in zip(self.curves.values(), found, strict=True):
                getattr(curve, name).append(value)

    def _signal(self, adapter: Adapter) -> float:
        """Return ||mean gradient||^2 over its sampling variance, pooled over all parameters (1: noise alone)."""
        batch, draws = self.sets["reference"]
        rows = per_sample_gradients(self.world.backbone, adapter.to(self.world.backbone.device), batch, draws).rows
        mean = rows.mean(0)
        noise = (rows - mean).square().sum() / (len(rows) - 1) / len(rows)
        return float(mean.square().sum() / noise.clamp_min(1e-30))


def _mean_without(losses: Tensor, left_out: list[int]) -> float:
    kept = [loss for place, loss in enumerate(losses.tolist()) if place not in left_out]
    return sum(kept) / len(kept)


def _side_by_side(world: World, arms: list[Arm]) -> SideBySide:
    """Return the batches of all arms as one, run-major."""
    p, everything, streams = world.parameters, range(count(world.references)), []
    for arm in arms:
        own = take(world.references, torch.tensor([i for i in everything if i not in arm.left_out]))
        protection, empty = arm.protected(world.pool), Captions(0.0, None)
        streams.append(MixedBatches(world.backbone, own, protection, p.batch_size, empty, p.seed))
    return SideBySide(streams)
