"""What a job's numbers say, one plain sentence each: the report's text beside its figures."""

from __future__ import annotations

from core.method.influence.selection import TRUSTED
from core.method.stopping.evidence import Evidence
from core.method.stopping.fluctuation import INFORMATIVE
from core.method.training.final_run import Outcome
from worker.protocol import Json

LEVELS = ((TRUSTED, "hardly"), (0.3, "weakly"), (0.5, "fairly"))
NOTHING_HELD_OUT = "No reference could be held out, so the surrogates can say nothing of unseen data."


def reasons(scored: Json, mixture: Json, outcome: Outcome, evidence: Evidence | None) -> dict[str, str]:
    """Return a sentence for everything that was decided or shown, by the name of what it speaks of."""
    found = {
        "scores": scores(scored),
        "backbone_data": mixture["reason"],
        "cs_fluctuation": fluctuation(outcome),
        "stop": outcome.reason,
        "confidence": evidence.sentence() if evidence else NOTHING_HELD_OUT,
    }
    return {name: sentence for name, sentence in found.items() if sentence}


def scores(scored: Json) -> str | None:
    """Say how far the scores can be trusted, and whether all were computed."""
    agreement = scored.get("reliability")
    if agreement is None:
        return None
    parts = []
    for name, words in (("reliability_of_sources", "whole sources"), ("reliability_of_candidates", "single examples")):
        if scored.get(name) is not None:
            parts.append(f"{scored[name]:.2f} for {words}")
    detail = f" ({', '.join(parts)})" if parts else ""
    level = next((words for limit, words in LEVELS if agreement < limit), "well")
    told = f"Two halves of the scoring agree {level}: correlation {agreement:.2f}{detail}."
    if scored.get("scored", 0) < scored.get("sampled", 0):
        return f"{told} So only {scored['scored']} of {scored['sampled']} candidates were scored."
    # decided by a version that did not compare it with chance, where nothing is said
    return f"{told} Chance alone may reach as much." if scored.get("repeats") is False else told


def fluctuation(outcome: Outcome) -> str:
    """Say whether CS-Fluctuation could be heard, and whether the job went by it."""
    if outcome.peak_to_noise is None and not outcome.informative:
        told = "CS-Fluctuation showed nothing: the run was too short for its windows, or it never moved."
    elif outcome.peak_to_noise is None:
        told = f"CS-Fluctuation rose above a noise of zero; {_valley(outcome)}."
    else:
        clear = "clear of" if outcome.informative else "not clear of"
        told = (
            f"CS-Fluctuation peaked at {outcome.peak_to_noise:.1f} times its noise, {clear} the {INFORMATIVE:g} that "
            f"it takes to be told from chance; {_valley(outcome)}."
        )
    return f"{told} {_bearing(outcome)}"


def _valley(outcome: Outcome) -> str:
    if outcome.turning_point_step is None:
        return "it showed no second valley"
    return f"its second valley is at step {outcome.turning_point_step}"


def _bearing(outcome: Outcome) -> str:
    """Say what CS-Fluctuation had to do with the end of the run and the step that is published."""
    if outcome.rule == "cs_fluctuation":
        return "This job was told to stop by it."
    if outcome.rule != "auto":
        return "This job did not go by it."
    if outcome.confidence is None:  # nothing held out: there is no other rule to name a step
        named = outcome.informative and outcome.reason.startswith(outcome.proposals["cs_fluctuation"][1])
        return f"It {'named' if named else 'did not name'} the step that is published."
    return f"It {'ended' if outcome.ended_by_turning else 'did not end'} the run and has no say in the step."
