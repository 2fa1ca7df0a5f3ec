"""Replay every stopping rule on a run that went to the horizon: what would each have published?"""

from __future__ import annotations

import itertools
import math
import random

from benchmarks.arms import Prepared
from benchmarks.runs import Arm, Curve
from benchmarks.world import World
from core.method.stopping.evidence import SurrogateCurves
from core.method.stopping.fluctuation import FluctuationDetector
from core.method.stopping.matched_loss import MatchedLoss
from core.method.stopping.rule import Evaluation, StopRule
from core.method.stopping.rules import Auto, CSFluctuation
from core.method.stopping.window import Window, calibrate_window

NOISE = 2.0  # ||mean gradient||^2 over its variance: below, the signal is smaller than the noise
FIXED_WINDOWS = (10, 30)
Steps = dict[str, int]


def stops(world: World, prepared: Prepared, arm: Arm, curve: Curve, *, every_rule: bool) -> Steps:
    """Return the step that each rule publishes for the run."""
    replay = _Replay(world, arm, curve)
    own, found = prepared.curves_of(arm), {"never": world.horizon}
    if own:
        found |= {"auto": replay.auto(own), "matched loss K=4": replay.matched(own)}
    if arm.gamma:
        found["matched loss, stretched"] = replay.matched(prepared.surrogate.curves)
    if curve.left_out:
        found["hold out a quarter"] = _lowest(curve.steps, curve.left_out)
    if own and every_rule:
        found |= replay.fluctuation_rules(own)
        found["matched loss K=2"] = replay.matched(prepared.pair)
    if curve.signal:
        found["gradient SNR"] = next(
            (s for s, x in zip(curve.steps, curve.signal, strict=True) if s and x < NOISE), world.horizon
        )
    return found


class _Replay:
    """Show a finished run to a rule, evaluation by evaluation."""

    def __init__(self, world: World, arm: Arm, curve: Curve) -> None:
        self.world, self.arm, self.curve = world, arm, curve
        self.rate = world.parameters.learning_rate
        self.losses = dict(zip(curve.steps, curve.reference, strict=True))

    def matched(self, curves: SurrogateCurves) -> int:
        """Return where the matched loss stops."""
        return self._published(self._matched_rule(curves), Window(2, 1, ""))

    def auto(self, curves: SurrogateCurves) -> int:
        """Return what the job's default publishes for texts: the earlier of matched loss and turning point."""
        window = self._window(curves)
        turning = CSFluctuation(window.evaluations, self.rate, fallback=self._matched_rule(curves))
        return self._published(Auto(turning, self._matched_rule(curves)), window)

    def fluctuation_rules(self, curves: SurrogateCurves) -> Steps:
        """Return the paper's rule at several windows, its two nulls, settling, and the calibrated window."""
        found: Steps = {}
        n = len(self.world.references[next(iter(self.world.references))])
        for name, window in (*((str(m), m) for m in FIXED_WINDOWS), ("n", max(2, n))):
            found[f"paper CS M={name}"] = self._turning(self.curve.similarity, window)
            found[f"permuted CS M={name}"] = self._turning(self._permuted(), window)
            found[f"fixed 2M, M={name}"] = min(2 * window, self.world.horizon)
        calibrated = self._window(curves)
        rule = CSFluctuation(calibrated.evaluations, self.rate, fallback=self._matched_rule(curves))
        found["CS, calibrated window"] = self._published(rule, calibrated)
        found["settle M=10"] = self._settled(10)
        return found

    def _matched_rule(self, curves: SurrogateCurves) -> MatchedLoss:
        evidence = curves.evidence()
        assert evidence is not None
        stretch = (1 - curves.gamma) / (1 - self.arm.gamma)
        return MatchedLoss(evidence, self.world.horizon, stretch)

    def _window(self, curves: SurrogateCurves) -> Window:
        evidence = curves.evidence()
        assert evidence is not None
        return calibrate_window(evidence.best_step * (1 - curves.gamma) / (1 - self.arm.gamma), self.world.horizon)

    def _published(self, rule: StopRule, window: Window) -> int:
        similar = {step: self.curve.similarity[step - 1] for step in range(1, self.world.horizon + 1)}
        for step in range(self.world.horizon + 1):
            value = similar.get(step) if step % window.interval == 0 else None
            if step in self.losses or value is not None:
                rule.update(Evaluation(step, value, self.losses.get(step)))
            if rule.stopped:
                break
        return max(1, rule.published_step)

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


def _lowest(steps: list[int], losses: list[float]) -> int:
    return max(1, steps[min(range(len(losses)), key=losses.__getitem__)])
