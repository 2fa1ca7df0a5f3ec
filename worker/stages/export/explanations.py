"""What a job's numbers say, one plain sentence each: the report's text beside its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.method.influence.selection import TRUSTED
from core.method.stopping.evidence import Evidence
from core.method.stopping.fluctuation import INFORMATIVE
from core.method.training.final_run import Outcome
from worker.protocol import Json

LEVELS = ((TRUSTED, "like chance"), (0.3, "weakly"), (0.5, "fairly"))
NOTHING_HELD_OUT = "Nothing could be held out, so nothing is known of unseen data."


def reasons(
    scored: Json, mixture: Json, law: Json | None, outcome: Outcome, evidence: Evidence | None
) -> dict[str, str]:
    """Return a sentence for everything that was measured, by the name of what it speaks of."""
    found = {
        "scores": scores(scored),
        "error_law": error_law(law) if law else None,
        "proposition_4_2": proposition(law) if law else None,
        "backbone_data": mixture["reason"],
        "cs_fluctuation": fluctuation(outcome),
        "stop": outcome.reason,
        "confidence": evidence.sentence() if evidence else NOTHING_HELD_OUT,
    }
    return {name: sentence for name, sentence in found.items() if sentence}


def scores(scored: Json) -> str | None:
    """Say how far the scores can be trusted."""
    agreement = scored.get("reliability")
    if agreement is None:
        return None
    parts = []
    for name, words in (("reliability_of_sources", "whole sources"), ("reliability_of_candidates", "single examples")):
        if scored.get(name) is not None:
            parts.append(f"{scored[name]:.2f} for {words}")
    detail = f" ({', '.join(parts)})" if parts else ""
    level = next((words for limit, words in LEVELS if agreement < limit), "well")
    return f"Two halves of the scoring agree {level}: correlation {agreement:.2f}{detail}."


def error_law(law: Mapping[str, Any]) -> str:
    """Say what the error law predicts, and that the trial outranks it."""
    low, high = law["interval"]
    return (
        f"The error law M(gamma), a linearised forecast for training without early stopping, has its minimum at "
        f"{law['gamma_star']:.2f} and breaks even at {law['break_even']:.2f}; at {law['judged_gamma']:.2f} it expects "
        f"{law['ratio']:.2f} times the error (90 % interval {low:.2f} to {high:.2f}). The trial on held-out references "
        "decides, not this forecast."
    )


def proposition(law: Mapping[str, Any]) -> str:
    """Say both sides of Prop. 4.2."""
    left, right = law["proposition"]["left"], law["proposition"]["right"]
    strict = law["sufficient"]
    holds = "holds" if left <= right else "does not hold"
    surely = "holds" if strict["left"] <= strict["right"] else "does not"
    return (
        f"Prop. 4.2 (reading R1) {holds}: {left:.3g} on the left, {right:.3g} on the right; the stricter sufficient "
        f"condition {surely}. It held wherever we looked, also where mixing harmed, so it decides nothing here."
    )


def fluctuation(outcome: Outcome) -> str:
    """Say whether CS-Fluctuation could be heard."""
    if outcome.peak_to_noise is None:
        return "CS-Fluctuation never filled its windows: the run was too short for it."
    clear = "clear of" if outcome.informative else "not clear of"
    point = (
        f"its second valley is at step {outcome.turning_point_step}"
        if outcome.turning_point_step is not None
        else "it showed no second valley"
    )
    return (
        f"CS-Fluctuation peaked at {outcome.peak_to_noise:.1f} times its noise, {clear} the {INFORMATIVE:g} that it "
        f"takes to be told from chance; {point}."
    )
