"""Which kept step answers as the references do: the evidence beside the loss behind stop="auto" for texts.

The loss names a step; answers to questions that were never trained on are counted there and at its neighbours, and
another step is published only where clearly more of them have the voice, or the shape, of the references. Our own rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CLEARLY_MORE = 2  # answers


@dataclass(frozen=True)
class Answered:
    """How many answers of one step fit; of questions never trained on, and of unrelated ones."""

    step: int  # 0: before training
    asked: int
    fitting: int
    unrelated_asked: int
    unrelated_fitting: int
    own_asked: int = 0  # questions of the references themselves, where no new one is answered so at any step
    own_fitting: int = 0


@dataclass(frozen=True)
class AnswerEvidence:
    """Say which step the answers favour and why; None where they favour none."""

    published_step: int | None
    reason: str


def choose(
    judged: Sequence[Answered], named: int, reason: str, what: str, questions: str = "new questions"
) -> AnswerEvidence:
    """Keep the step that the loss has `named` for its `reason`, unless clearly more answers fit at another.

    `what` says what is counted, as in "have the voice of the references"; `questions` says which were asked.
    Of the steps that fit best, the one nearest to the named one is taken, in steps as a ratio.
    """
    trained = [one for one in judged if one.step > 0 and one.asked]
    here = next((one for one in trained if one.step == named), None)
    if here is None:
        return AnswerEvidence(None, "")
    best = max(one.fitting for one in trained)
    if best == 0:
        return AnswerEvidence(None, f"At no kept step do any of the {here.asked} answers to {questions} {what}.")
    if best - here.fitting < CLEARLY_MORE:
        most = "as many as at any kept step" if here.fitting == best else f"at most {best} at any kept step"
        return AnswerEvidence(
            named, f"{reason} There {here.fitting} of {here.asked} answers to {questions} {what}, {most}."
        )
    chosen = min(
        (one for one in trained if one.fitting == best), key=lambda one: (abs(math.log(one.step / named)), one.step)
    )
    return AnswerEvidence(
        chosen.step,
        f"Published step {chosen.step}: there {chosen.fitting} of {chosen.asked} answers to {questions} {what}; at "
        f"step {named}, which the stopping rules name, {here.fitting}.",
    )
