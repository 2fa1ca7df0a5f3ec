"""When to stop and which checkpoint to publish: four rules behind one interface.

A rule sees every evaluation of the final run. At any time it can say which kept step it would publish and why, so a run
that ends early for any reason still has an answer; nothing here ever raises because a curve looks odd.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from core.method.stopping.evidence import Evidence
from core.method.stopping.fluctuation import FluctuationDetector, Semantics
from core.parameters.schedule import LOOK_AHEAD

RuleName = Literal["auto", "cs_fluctuation", "matched_loss", "max_steps"]


@dataclass(frozen=True)
class Evaluation:
    """Hold what was measured at one optimizer step; None where it was not."""

    step: int
    similarity: float | None = None
    reference_loss: float | None = None  # on fixed noise, references only


class StopRule(Protocol):
    """Watch evaluations, say when to stop, and name the step to publish."""

    name: RuleName

    def update(self, evaluation: Evaluation) -> None:
        """Take the next evaluation; steps grow."""

    @property
    def stopped(self) -> bool:
        """Tell whether the run may end."""

    @property
    def published_step(self) -> int:
        """Return the step to publish if the run ended now."""

    @property
    def may_publish(self) -> set[int]:
        """Return every step whose checkpoint must still be kept."""

    @property
    def reason(self) -> str:
        """Say to a person why that step."""


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
        return f"Published the last step, {self.last}, because this job was told not to stop early."


class MatchedLoss:
    """Stop where held-out surrogates were best: at their relative training loss or their step, whichever comes first.

    `stretch` maps the surrogates' clock onto this run's: 1/(1-gamma), since replay takes a share gamma of every batch.
    """

    name: RuleName = "matched_loss"

    def __init__(self, evidence: Evidence, budget: int, stretch: float = 1.0) -> None:
        self.level = evidence.level
        self.cap = max(1, min(budget, round(evidence.best_step * stretch)))
        self.horizon = math.ceil(LOOK_AHEAD * self.cap)  # how far a run that also shows overfitting goes
        self.step: int | None = None
        self._start: float | None = None
        self._last = 0
        self._why = ""

    def update(self, evaluation: Evaluation) -> None:
        self._last = evaluation.step
        loss = evaluation.reference_loss
        if self._start is None:
            self._start = loss
        if self.step is not None or evaluation.step < 1:
            return
        if loss is not None and self._start is not None and loss <= self.level * self._start:
            self._name(evaluation.step, f"the loss on the references fell to {100 * self.level:.0f} % of its start")
        elif evaluation.step >= self.cap:
            self._name(evaluation.step, f"{self.cap} steps were reached")

    def _name(self, step: int, event: str) -> None:
        self.step = step
        self._why = f"Published step {step}: {event}, which is where references held out of the surrogates were best."

    @property
    def stopped(self) -> bool:
        return self.step is not None

    @property
    def published_step(self) -> int:
        return self._last if self.step is None else self.step

    @property
    def may_publish(self) -> set[int]:
        return {self.published_step}

    @property
    def reason(self) -> str:
        return self._why or f"Published the last step, {self._last}: the run ended before the best loss was matched."


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
    def turning_point(self) -> int | None:
        """Return the left edge of the second valley, or None."""
        valley = self.detector.turning_point
        return None if valley is None else valley.left

    @property
    def stopped(self) -> bool:
        return self.detector.turning_point is not None or self.detector.settled is not None

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
    """Let CS-Fluctuation end the run and held-out evidence name the adapter: the earlier of the two.

    Measured as good as the matched loss alone (.21 of the achievable gain lost; the paper's windows .47-.59). The run
    ends with the turning point, a settling or 3.5 t*, and never before the matched loss is known.
    For images the picture evidence (picture_evidence.py) replaces this name afterwards.
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
    def stopped(self) -> bool:
        if self.matched is None:
            return self.turning.stopped
        return self.matched.stopped and (self.turning.stopped or self._last >= self.matched.horizon)

    @property
    def _earlier(self) -> StopRule:
        point, matched = self.turning.turning_point, self.matched
        return self.turning if matched is None or (point and point < matched.published_step) else matched

    @property
    def published_step(self) -> int:
        return self._earlier.published_step

    @property
    def may_publish(self) -> set[int]:
        return self.turning.may_publish | (self.matched.may_publish if self.matched else set())

    @property
    def reason(self) -> str:
        if self.matched is None:
            return f"{self.turning.reason} No reference could be held out to check it."
        if self._earlier is self.turning:
            later = self.matched.published_step
            return f"{self.turning.reason} It came before step {later}, where held-out references were best."
        if self.turning.turning_point is None:
            return f"{self.matched.reason} CS-Fluctuation showed no second valley."
        return f"{self.matched.reason} The turning point is at step {self.turning.turning_point}."


def stop_rules(
    evidence: Evidence | None, window: int, budget: int, *, learning_rate: float, semantics: Semantics, stretch: float
) -> dict[RuleName, StopRule]:
    """Return every rule a job computes, each with its own memory; `matched_loss` needs held-out evidence."""

    def matched() -> MatchedLoss | None:
        return MatchedLoss(evidence, budget, stretch) if evidence else None

    def turning() -> CSFluctuation:
        return CSFluctuation(window, learning_rate, semantics, matched())

    rules: list[StopRule | None] = [MaxSteps(budget), turning(), matched(), Auto(turning(), matched())]
    return {rule.name: rule for rule in rules if rule}
