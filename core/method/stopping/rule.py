"""What a stopping rule is: it watches the evaluations of the final run, says when to stop, and names a step.

A rule sees every evaluation. At any time it can say which kept step it would publish and why, so a run that ends early
for any reason still has an answer; nothing here ever raises because a curve looks odd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

RuleName = Literal["auto", "cs_fluctuation", "matched_loss", "max_steps", "owner"]


@dataclass(frozen=True)
class Evaluation:
    """Hold what was measured at one optimizer step; None where it was not."""

    step: int
    similarity: float | None = None
    reference_loss: float | None = None  # on fixed noise, references only


def as_proposal(reason: str) -> str:
    """Return a rule's reason as that of a step which it would publish; another may be published in the end."""
    return reason.replace("Published ", "Proposed ")


def chosen_by_samples(step: int, named: int) -> str:
    """Begin the reason of a step that samples choose, beside the one that the stopping rules have named."""
    other = f", not step {named}, which the stopping rules name" if named != step else ""
    return f"Published step {step}{other}: "


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
