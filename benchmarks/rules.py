"""Replay every stopping rule on a run that went to the horizon: what would each have published?"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from benchmarks.arms import Prepared
from benchmarks.runs import Arm, Curve
from benchmarks.world import Setting, World
from core.method.backbones.backbone import Batch, count
from core.method.stopping.evidence import Evidence, SurrogateCurves, scale_of
from core.method.stopping.fluctuation import FluctuationDetector
from core.method.stopping.matched_loss import MatchedLoss
from core.method.stopping.rule import Evaluation, StopRule
from core.method.stopping.rules import Auto, CSFluctuation
from core.method.stopping.window import Window, calibrate_window
from core.parameters.parameters import Parameters
from core.parameters.schedule import look_ahead

NOISE = 2.0  # ||mean gradient||^2 over its variance: below, the signal is smaller than the noise
FIXED_WINDOWS = (10, 30)
# What a rule has to know beyond the run itself. Of those that are not here: nothing.
NEEDS: Mapping[str, str] = {
    "auto": "K folds",
    "matched loss K=4": "K folds",
    "matched loss K=2": "2 folds",
    "matched loss, in proportion": "K folds",  # their step scaled by n / (n - n/K) instead of its root
    "matched loss, stretched": "K folds",
    "one split, retrained": "one split",
    "hold out a quarter": "one split",
    "CS, calibrated window": "K folds",
    "c n / lr": "unseen data of other sets",
    "c n / lr, another family's c": "unseen data of other sets",
    "oracle": "unseen data of this set",
}


@dataclass(frozen=True)
class Stop:
    """Name the step that a rule publishes, and how the run ends by it where it goes on past that."""

    step: int
    ended: int | None = None  # the last step of the run; None: the rule looks no further than the step
    by_turning: bool = False  # CS-Fluctuation ended it


def stops(
    world: World, prepared: Prepared, arm: Arm, curve: Curve, *, split: Curve | None, every_rule: bool
) -> dict[str, Stop]:
    """Return what each rule makes of the run; `split` is the run that left out what one split holds out."""
    replay = Replay(world, arm, curve)
    found = {"never": world.horizon, "oracle": lowest(curve.steps, curve.heldout), "random step": replay.random_step()}
    own = prepared.curves_of(arm)
    if own:
        found["matched loss K=4"] = replay.matched(shown_by(own), own.gamma)
    if arm.gamma:
        found["matched loss, stretched"] = replay.matched(shown_by(prepared.surrogate.curves))
    if curve.left_out:
        found["hold out a quarter"] = lowest(curve.steps, curve.left_out)
    elif split:
        evidence = one_split(len(prepared.arms["quarter"].left_out), count(world.references), split)
        found["one split, retrained"] = replay.matched(evidence)
    if own and every_rule:
        found |= replay.fluctuation_rules(own)
        found["matched loss K=2"] = replay.matched(shown_by(prepared.pair))
    if curve.signal:
        found["gradient SNR"] = next(
            (s for s, x in zip(curve.steps, curve.signal, strict=True) if s and x < NOISE), world.horizon
        )
    named = {rule: Stop(step) for rule, step in found.items()}
    return named | ({"auto": replay.auto(own)} if own else {})


def one_split(left_out: int, n: int, curve: Curve) -> Evidence:
    """Return the evidence of one run that left `left_out` of n references out, to be matched by a run on all."""
    held_out, seen = [(loss, loss) for loss in curve.left_out], [(loss, loss) for loss in curve.reference]
    twice = SurrogateCurves(((0,), (1,)), 0.0, list(curve.steps), list(seen), list(held_out))  # two folds that agree
    evidence = twice.evidence()
    assert evidence is not None
    return replace(evidence, scale=scale_of(n, n - left_out), confidence="low")


class Ran(Protocol):
    """What a rule has to know of the experiment whose run it is shown."""

    @property
    def setting(self) -> Setting:
        """Return its name."""

    @property
    def references(self) -> Batch:
        """Return what is learned."""

    @property
    def parameters(self) -> Parameters:
        """Return the parameters of its runs."""

    @property
    def horizon(self) -> int:
        """Return how many steps its runs have."""


class Replay:
    """Show a finished run to a rule, evaluation by evaluation."""

    def __init__(self, world: Ran, arm: Arm, curve: Curve) -> None:
        self.world, self.arm, self.curve = world, arm, curve
        self.rate = world.parameters.learning_rate
        self.losses = dict(zip(curve.steps, curve.reference, strict=True))

    def matched(self, evidence: Evidence, gamma: float = 0.0) -> int:
        """Return where the matched loss stops; `gamma` is the share of backbone data that the evidence saw."""
        return self._stop(self._matched_rule(evidence, gamma), Window(2, 1, "")).step

    def auto(self, curves: SurrogateCurves) -> Stop:
        """Return what the job's default publishes before samples have their say, and where its run ends."""
        p, window, evidence = self.world.parameters, self._window(curves), shown_by(curves)
        turning = CSFluctuation(window.evaluations, self.rate, fallback=self._matched_rule(evidence, curves.gamma))
        ahead = look_ahead(p.kind, p.learns, past_best=p.past_best)
        return self._stop(Auto(turning, self._matched_rule(evidence, curves.gamma, ahead)), window)

    def random_step(self) -> int:
        """Return any step of the run."""
        return random.Random(f"{self.world.setting.key} {self.arm.name}").randint(1, self.world.horizon)

    def fluctuation_rules(self, curves: SurrogateCurves) -> dict[str, int]:
        """Return the paper's rule at several windows, its two nulls, settling, and the calibrated window."""
        found: dict[str, int] = self.fixed_steps()
        for name, window in self._windows():
            found[f"paper CS M={name}"] = self._turning(self.curve.similarity, window)
            found[f"permuted CS M={name}"] = self._turning(self._permuted(), window)
        calibrated = self._window(curves)
        rule = CSFluctuation(
            calibrated.evaluations, self.rate, fallback=self._matched_rule(shown_by(curves), curves.gamma)
        )
        found["CS, calibrated window"] = self._stop(rule, calibrated).step
        found["settle M=10"] = self._settled(10)
        return found

    def fixed_steps(self) -> dict[str, int]:
        """Return the null that looks at nothing: twice each window."""
        return {f"fixed 2M, M={name}": min(2 * window, self.world.horizon) for name, window in self._windows()}

    def _windows(self) -> list[tuple[str, int]]:
        return [*((str(m), m) for m in FIXED_WINDOWS), ("n", max(2, count(self.world.references)))]

    def _matched_rule(self, evidence: Evidence, gamma: float, ahead: float = 1.0) -> MatchedLoss:
        return MatchedLoss(evidence, self.world.horizon, (1 - gamma) / (1 - self.arm.gamma), ahead)

    def _window(self, curves: SurrogateCurves) -> Window:
        return calibrate_window(
            shown_by(curves).best_step * (1 - curves.gamma) / (1 - self.arm.gamma), self.world.horizon
        )

    def _stop(self, rule: StopRule, window: Window) -> Stop:
        similar = dict(enumerate(self.curve.similarity, 1))  # of some recorded runs there is none
        for step in range(self.world.horizon + 1):
            value = similar.get(step) if step % window.interval == 0 else None
            if step in self.losses or value is not None or not similar:
                rule.update(Evaluation(step, value, self.losses.get(step)))
            if rule.stopped:
                break
        turned = isinstance(rule, Auto) and rule.ended_by_turning
        return Stop(max(1, rule.published_step), step if isinstance(rule, Auto) else None, turned)

    def _turning(self, similarity: list[float], window: int) -> int:
        detector = self._detector(similarity, window)
        return detector.turning_point.left if detector.turning_point else self.world.horizon

    def _settled(self, window: int) -> int:
        return self._detector(self.curve.similarity, window).settled or self.world.horizon

    def _detector(self, similarity: list[float], window: int) -> FluctuationDetector:
        detector = FluctuationDetector(window, self.rate)
        for step, value in enumerate(similarity, 1):
            detector.update(value, step)
        return detector

    def _permuted(self) -> list[float]:
        """Return a series with the same increments in another order: what the rule finds in it is not learning."""
        series = [value for value in self.curve.similarity if math.isfinite(value)]
        increments = [b - a for a, b in itertools.pairwise(series)]
        random.Random(self.world.setting.seed).shuffle(increments)
        shuffled = [series[0]]
        for increment in increments:
            shuffled.append(shuffled[-1] + increment)
        return shuffled


def at(curve: Curve, series: list[float], step: float) -> float:
    """Return a series of the grid at any step, interpolated in the logarithm of the step."""
    for place in range(1, len(curve.steps)):
        before, after = curve.steps[place - 1], curve.steps[place]
        if step <= after:
            span = math.log(after + 1) - math.log(before + 1)
            share = (math.log(step + 1) - math.log(before + 1)) / span
            return series[place - 1] + share * (series[place] - series[place - 1])
    return series[-1]


def shown_by(curves: SurrogateCurves) -> Evidence:
    """Return what held-out references showed; some were held out."""
    evidence = curves.evidence()
    assert evidence is not None
    return evidence


def lowest(steps: list[int], losses: list[float]) -> int:
    """Return the step, after the start, at which a loss is least."""
    return steps[min(range(1, len(losses)), key=losses.__getitem__)]
