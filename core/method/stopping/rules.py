"""When to stop and which checkpoint to publish: the four rules that a job computes side by side."""

from __future__ import annotations

from core.method.stopping.evidence import Evidence
from core.method.stopping.fluctuation import FluctuationDetector, Semantics
from core.method.stopping.matched_loss import MatchedLoss
from core.method.stopping.rule import Evaluation, RuleName, StopRule
from core.parameters import schedule


class MaxSteps:
    """Never stop before the budget is spent."""

    name: RuleName = "max_steps"

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.last = 0

    def update(self, evaluation: Evaluation) -> None:
        self.last = evaluation.step

    @property
    def stopped(self) -> bool:
        return self.last >= self.budget

    @property
    def published_step(self) -> int:
        return self.last

    @property
    def may_publish(self) -> set[int]:
        return {self.last}

    @property
    def reason(self) -> str:
        if self.last < self.budget:
            return f"Published the last step, {self.last}: the run ended before its budget of {self.budget} steps."
        return f"Published the last step, {self.last}: its budget of {self.budget} steps is spent."


class CSFluctuation:
    """Stop at the second valley of CS-Fluctuation (Algorithm 1) and publish its left edge.

    Without a second valley: the left edge of where F settled, else the matched loss, else the last step.
    """

    name: RuleName = "cs_fluctuation"

    def __init__(
        self, window: int, learning_rate: float, semantics: Semantics = "paper", fallback: MatchedLoss | None = None
    ) -> None:
        self.detector = FluctuationDetector(window, learning_rate, semantics)
        self.fallback = fallback
        self.fluctuation: float | None = None  # F of the newest evaluation, for whoever draws the curve
        self._last = 0

    def update(self, evaluation: Evaluation) -> None:
        self._last = evaluation.step
        self.fluctuation = None
        if evaluation.similarity is not None:
            self.fluctuation = self.detector.update(evaluation.similarity, evaluation.step)
        if self.fallback:
            self.fallback.update(evaluation)

    @property
    def speaks_of(self) -> int | None:
        """Return the step that this F speaks of, where turning points are counted too; None where there is none."""
        return None if self.fluctuation is None else self.detector.left_edge

    @property
    def turning_point(self) -> int | None:
        """Return the left edge of the second valley, or None."""
        valley = self.detector.turning_point
        return None if valley is None else valley.left

    @property
    def stopped(self) -> bool:
        return self.detector.turning_point is not None or self.detector.settled is not None

    @property
    def ended_by_turning(self) -> bool:
        """Tell whether it ended the run, and not the budget."""
        return self.stopped

    @property
    def published_step(self) -> int:
        if self.turning_point is not None:
            return self.turning_point
        if self.detector.settled is not None:
            return self.detector.settled
        return self.fallback.published_step if self.fallback else self._last

    @property
    def may_publish(self) -> set[int]:
        return {self.published_step, *self.detector.pending} | (self.fallback.may_publish if self.fallback else set())

    @property
    def reason(self) -> str:
        doubt = "" if self.detector.informative else " (the curve did not stand clear of its noise: this may be chance)"
        valley = self.detector.turning_point
        if valley is not None:
            return f"Published step {valley.left}: the turning point, seen at step {valley.detect}{doubt}."
        if self.detector.settled is not None:
            return f"Published step {self.published_step}: CS-Fluctuation settled without a second valley{doubt}."
        if self.fallback:
            return f"CS-Fluctuation showed no second valley. {self.fallback.reason}"
        return f"Published the last step, {self._last}: CS-Fluctuation showed no second valley."


class Auto:
    """Let held-out evidence name the adapter, and CS-Fluctuation end the run where it stands clear of chance.

    A turning point that also named the step where it came first was worse than the matched loss alone in nearly every
    run where the two differ; so it tells when training on is pointless, and never before the matched loss is known. One
    that does not stand clear of its own noise does nothing; then the run goes on past the matched loss to its horizon.
    What the samples show (picture_evidence.py, answer_evidence.py) may name another of the kept steps afterwards.
    Where nothing could be held out, the turning point is all there is, and names the step too.
    """

    name: RuleName = "auto"

    def __init__(self, turning: CSFluctuation, matched: MatchedLoss | None) -> None:
        self.turning = turning
        self.matched = matched
        self._last = 0

    def update(self, evaluation: Evaluation) -> None:
        self._last = evaluation.step
        self.turning.update(evaluation)
        if self.matched:
            self.matched.update(evaluation)

    @property
    def _clear(self) -> bool:
        return self.turning.detector.informative

    @property
    def _turned(self) -> bool:
        """Tell whether CS-Fluctuation has turned or settled, clear of chance."""
        return self.turning.stopped and self._clear

    @property
    def stopped(self) -> bool:
        if self.matched is None:
            return self._turned
        return self.matched.stopped and (self._turned or self._last >= self.matched.horizon)

    @property
    def ended_by_turning(self) -> bool:
        """Tell whether CS-Fluctuation ended the run before it would have ended anyway."""
        if not (self.stopped and self._turned):
            return False
        return self.matched is None or self._last < min(self.matched.horizon, self.matched.budget)

    @property
    def published_step(self) -> int:
        if self.matched:
            return self.matched.published_step
        return self.turning.published_step if self._turned else self._last

    @property
    def may_publish(self) -> set[int]:
        return self.matched.may_publish if self.matched else self.turning.may_publish | {self._last}

    @property
    def reason(self) -> str:
        if self.matched:
            return f"{self.matched.reason}{self._beside()}"
        alone = "No reference could be held out to check it."
        if self._turned:
            return f"{self.turning.reason} {alone}"
        return f"Published the last step, {self._last}: CS-Fluctuation showed nothing clear of chance. {alone}"

    def _beside(self) -> str:
        """Say what CS-Fluctuation showed and whether it ended the run."""
        point = self.turning.turning_point
        if self.ended_by_turning:
            place = f"turned at step {point}" if point is not None else f"settled at step {self.turning.published_step}"
            return f" CS-Fluctuation {place}, clear of chance, and ended the run at step {self._last}."
        if point is None:
            return ""
        if not self._clear:
            return f" CS-Fluctuation's turning point at step {point} may be chance and was passed over."
        return f" CS-Fluctuation's turning point is at step {point}."


def stop_rules(
    evidence: Evidence | None,
    window: int,
    budget: int,
    *,
    learning_rate: float,
    semantics: Semantics,
    stretch: float,
    look_ahead: float = schedule.LOOK_AHEAD,
) -> dict[RuleName, StopRule]:
    """Return every rule a job computes, each with its own memory; `matched_loss` needs held-out evidence."""

    def matched() -> MatchedLoss | None:
        return MatchedLoss(evidence, budget, stretch, look_ahead) if evidence else None

    def turning() -> CSFluctuation:
        return CSFluctuation(window, learning_rate, semantics, matched())

    rules: list[StopRule | None] = [MaxSteps(budget), turning(), matched(), Auto(turning(), matched())]
    return {rule.name: rule for rule in rules if rule}
