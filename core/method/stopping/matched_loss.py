"""The matched loss: stop where the surrogates, each blind to a part of the references, were best (our own rule)."""

from __future__ import annotations

import math

from core.method.stopping.evidence import Evidence
from core.method.stopping.rule import Evaluation, RuleName
from core.parameters import schedule

MEANINGFUL_LEVEL = 0.98  # of the loss before training


class MatchedLoss:
    """Stop where held-out surrogates were best: at their relative training loss or their step, whichever comes first.

    `stretch` maps the surrogates' clock onto this run's: 1/(1-gamma), since replay takes a share gamma of every batch.
    Their step is scaled by sqrt(n / (n - n/K)) too (evidence.scale), since this run has more references. A run goes on
    past the stop by `look_ahead` times its step, to show what comes then: enough for pictures to choose from.
    """

    name: RuleName = "matched_loss"

    def __init__(
        self, evidence: Evidence, budget: int, stretch: float = 1.0, look_ahead: float = schedule.LOOK_AHEAD
    ) -> None:
        self.evidence, self.budget, self.look_ahead = evidence, budget, look_ahead
        self.wanted = max(1, round(evidence.best_step * evidence.scale * stretch))
        self.cap = min(budget, self.wanted)
        self.step: int | None = None
        self._start: float | None = None
        self._last = 0
        self._why = ""

    @property
    def horizon(self) -> int:
        """Return how far a run goes that also shows what comes after the stop."""
        return math.ceil(self.look_ahead * (self.cap if self.step is None else self.step))

    def update(self, evaluation: Evaluation) -> None:
        self._last = evaluation.step
        loss = evaluation.reference_loss
        if self._start is None:
            self._start = loss
        if self.step is not None or evaluation.step < 1:
            return
        if loss is not None and self._start and self._matched(loss / self._start):
            self._name(evaluation.step, self._level_reached(loss / self._start))
        elif evaluation.step >= self.cap:
            self._name(evaluation.step, self._cap_reached())

    def _matched(self, level: float) -> bool:
        """Tell whether the loss has come to the surrogates' level; one that hardly fell is reached by chance."""
        return level <= self.evidence.level <= MEANINGFUL_LEVEL

    def _name(self, step: int, why: str) -> None:
        self.step, self._why = step, f"Published step {step}: {why}"

    def _level_reached(self, level: float) -> str:
        told = (
            f"the loss on the references had fallen to {100 * level:.0f} % of its start; that of the surrogates was at "
            f"{100 * self.evidence.level:.0f} %"
        )
        if self.evidence.at_end:
            return f"{told} at their step {self.evidence.best_step}, {self._near_the_end}"
        return f"{told} where the references held out of them were {self._best}."

    @property
    def _best(self) -> str:
        """Say how references fared that a surrogate had not seen, at its best step."""
        return "best" if self.evidence.helps else "least bad, though worse than before training"

    @property
    def _near_the_end(self) -> str:
        return (
            "near the end of their budget; held-out references had not clearly got worse by then, so a longer run may "
            "be better."
        )

    def _cap_reached(self) -> str:
        if self.cap < self.wanted:
            return (
                f"the run's budget of {self.budget} steps ended there; what the surrogates showed asks for about "
                f"{self.wanted}, so a larger max_steps may be better."
            )
        best, found = self.evidence.best_step, f"references held out of the surrogates were {self._best}"
        if self.evidence.at_end:
            return f"it stands for the surrogates' step {best}, {self._near_the_end}"
        comma = "" if self.evidence.helps else ","
        if self.cap == best:
            return f"{found}{comma} at this step."
        return f"{found}{comma} at their step {best}, which is step {self.cap} here, where there is more to see."

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
