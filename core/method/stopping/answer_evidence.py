"""Which kept step answers as the references do: the evidence beside the loss behind stop="auto" for texts.

The loss names a step; questions that were never trained on are answered there and at its neighbours. Another step is
published where answers have clearly more of the references' voice, or clearly more of them their shape. Where hardly
any new question is answered in the shape, the references' own questions are counted instead. Our own rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from core.method.stopping.rule import chosen_by_samples

CLEARLY_MORE = 2  # answers
MIN_HEARD = 4  # new answers, with fewer of which a voice moves no step
VOICE_LEVELLED = 0.9  # share of the most of the voice at any kept step from which on it counts as there; by eye


@dataclass(frozen=True)
class Answered:
    """How many answers of one step fit; of questions never trained on, and of unrelated ones."""

    step: int  # 0: before training
    asked: int
    fitting: int
    unrelated_asked: int
    unrelated_fitting: int
    own_asked: int = 0  # questions of the references themselves, where hardly any new one is answered so
    own_fitting: int = 0
    voice: tuple[float, ...] = ()  # how much of the references' voice each new answer has, 0..1; empty: not judged

    @property
    def mean_voice(self) -> float:
        """How much of the voice the new answers have on average."""
        return fmean(self.voice) if self.voice else 0.0


@dataclass(frozen=True)
class AnswerEvidence:
    """Say which step the answers favour and why; None where they favour none."""

    published_step: int | None
    reason: str


def choose(
    judged: Sequence[Answered], named: int, reason: str, what: str, questions: str = "new questions"
) -> AnswerEvidence:
    """Keep the step that the loss has `named` for its `reason`, unless answers at another fit clearly better.

    `what` says what is counted, as in "have the voice of the references"; `questions` says which were asked. A voice
    is there at the first step that has about as much of it as any; of a shape, the answers that have it are counted,
    and of the steps with the most the one nearest to the named one is taken, in steps as a ratio.
    """
    trained = [one for one in judged if one.step > 0 and one.asked]
    here = next((one for one in trained if one.step == named), None)
    if here is None:
        return AnswerEvidence(None, "")
    best = max(one.fitting for one in trained)
    if best == 0:
        return AnswerEvidence(None, f"At no kept step do any of the {here.asked} answers to {questions} {what}.")
    if all(one.voice for one in trained):
        return _voiced(trained, here, reason, f"answers to {questions} {what}")
    if best - here.fitting < CLEARLY_MORE:
        return AnswerEvidence(named, f"{reason} {_there(here, best, f'answers to {questions} {what}')}")
    chosen = min(
        (one for one in trained if one.fitting == best), key=lambda one: (abs(math.log(one.step / named)), one.step)
    )
    return AnswerEvidence(
        chosen.step,
        f"{chosen_by_samples(chosen.step, named)}there {chosen.fitting} of {chosen.asked} answers to {questions} "
        f"{what}; at step {named}, {here.fitting}.",
    )


def _voiced(trained: Sequence[Answered], here: Answered, reason: str, what: str) -> AnswerEvidence:
    best, most = max(one.fitting for one in trained), max(one.mean_voice for one in trained)
    levelled = next(one for one in trained if one.mean_voice >= VOICE_LEVELLED * most)
    chosen, beside = here, ""
    if _clearly_more(levelled, here):
        chosen, beside = levelled, f"; at step {here.step}, {here.mean_voice:.2f}"
        reason = (
            f"{chosen_by_samples(chosen.step, here.step)}the first kept step whose answers have at least "
            f"{VOICE_LEVELLED:.0%} as much of the references' voice as those of any."
        )
    much = (
        f"On average all of them have {chosen.mean_voice:.2f} of that voice (1: as much as the references' own "
        f"answers), at best {most:.2f}{beside}."
    )
    return AnswerEvidence(chosen.step, f"{reason} {_there(chosen, best, what)} {much}")


def _clearly_more(one: Answered, other: Answered) -> bool:
    """Tell whether one step has more of the voice than another by more than chance, question by question.

    More, on average, than the standard error of the mean difference; and not in clearly fewer answers.
    """
    differences = [a - b for a, b in zip(one.voice, other.voice, strict=True)]
    if len(differences) < MIN_HEARD or not one.fitting or other.fitting - one.fitting >= CLEARLY_MORE:
        return False
    return fmean(differences) > stdev(differences) / math.sqrt(len(differences))


def _there(one: Answered, best: int, what: str) -> str:
    most = "as many as at any kept step" if one.fitting == best else f"at most {best} at any kept step"
    return f"There {one.fitting} of {one.asked} {what}, {most}."
