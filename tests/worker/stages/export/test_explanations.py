"""The sentences of a report, each where it is true and where the opposite is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.method.stopping.evidence import Evidence
from core.method.stopping.rules import stop_rules
from core.method.stopping.window import Window
from core.method.training.final_run import Outcome
from tests.core.method.stopping.test_rules import run, two_stage
from worker.stages.export.explanations import fluctuation, reasons, scores

SCORED = {"reliability": 0.36, "reliability_of_sources": 0.41, "reliability_of_candidates": 0.02}
OUTCOME = Outcome(
    published_step=40,
    rule="auto",
    reason="by the rules",
    turning_point_step=60,
    matched_loss_step=40,
    last_step=140,
    stopped_early=True,
    confidence="high",
    informative=False,
    peak_to_noise=3.94,
    window=Window(4, 2, ""),
    kept={"published": 40},
    gallery=(40, 60, 140),
    proposals={"auto": (40, "by the rules"), "cs_fluctuation": (60, "by the turning point")},
)


def test_the_agreement_of_scores_is_called_what_it_is() -> None:
    assert scores(SCORED) == (
        "Two halves of the scoring agree fairly: correlation 0.36 (0.41 for whole sources, 0.02 for single examples)."
    )
    levels = {0.05: "hardly", -0.4: "hardly", 0.2: "weakly", 0.4: "fairly", 0.6: "well"}
    for agreement, words in levels.items():
        assert f"agree {words}: correlation {agreement:.2f}" in (scores({"reliability": agreement}) or "")
    assert scores({}) is None
    assert scores({"reliability": None}) is None


def test_an_agreement_that_chance_reaches_is_told_from_one_that_it_does_not() -> None:
    """A job scored by a version that did not compare says nothing of chance."""
    assert (scores(SCORED | {"repeats": False}) or "").endswith("Chance alone may reach as much.")
    assert "hance" not in (scores(SCORED | {"repeats": True}) or "")
    assert "hance" not in (scores(SCORED) or "")


def test_scoring_that_ended_early_says_how_many_were_scored() -> None:
    some = {"reliability": 0.03, "repeats": False, "sampled": 217, "scored": 96}
    assert (scores(some) or "").endswith("So only 96 of 217 candidates were scored.")
    assert "only" not in (scores(some | {"scored": 217}) or "")


ALONE = {"confidence": None, "informative": True, "turning_point_step": 40, "reason": "by the turning point Alone."}


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, "It did not end the run and has no say in the step."),
        ({"ended_by_turning": True}, "It ended the run and has no say in the step."),
        (ALONE, "It named the step that is published."),
        (ALONE | {"reason": "by the turning point No picture says more."}, "It named the step that is published."),
        (ALONE | {"reason": "by the pictures"}, "It did not name the step that is published."),
        (ALONE | {"informative": False}, "It did not name the step that is published."),
        (ALONE | {"rule": "cs_fluctuation"}, "This job was told to stop by it."),
        ({"rule": "matched_loss"}, "This job did not go by it."),
        ({"rule": "max_steps"}, "This job did not go by it."),
    ],
)
def test_cs_fluctuation_says_what_it_had_to_do_with_the_run(changes: dict[str, object], end: str) -> None:
    assert fluctuation(replace(OUTCOME, **changes)).endswith(end)


@pytest.mark.parametrize("held_out", [True, False])
def test_the_real_rules_are_told_apart_by_the_reason_of_the_outcome(held_out: bool) -> None:
    held = Evidence(40, 0.01, gain=0.1, standard_error=0.02, confidence="medium", at_end=False) if held_out else None
    rules = stop_rules(held, 10, 300, learning_rate=1.0, semantics="paper", stretch=1.0)
    for rule in rules.values():
        run(rule, two_stage)
    auto = rules["auto"]
    assert (auto.published_step == rules["cs_fluctuation"].turning_point) != held_out
    proposals = {name: (rule.published_step, rule.reason) for name, rule in rules.items()}
    ended = replace(OUTCOME, informative=True, reason=auto.reason, proposals=proposals)
    ended = replace(ended, confidence="medium" if held_out else None, ended_by_turning=auto.ended_by_turning)
    assert ("It named" in fluctuation(ended)) != held_out
    assert ("It ended the run" in fluctuation(ended)) == held_out


def test_cs_fluctuation_says_how_clear_it_stood_of_its_noise() -> None:
    told = fluctuation(OUTCOME)
    assert "peaked at 3.9 times its noise, not clear of the 10" in told
    assert "its second valley is at step 60" in told
    clear = fluctuation(replace(OUTCOME, informative=True, peak_to_noise=14.0, turning_point_step=None))
    assert "14.0 times its noise, clear of the 10" in clear
    assert "it showed no second valley" in clear
    assert "rose above a noise of zero" in fluctuation(replace(OUTCOME, informative=True, peak_to_noise=None))
    assert "too short for its windows, or it never moved" in fluctuation(replace(OUTCOME, peak_to_noise=None))


def test_numbers_that_decide_nothing_have_no_sentence() -> None:
    told = reasons(SCORED, {"reason": "Tried."}, OUTCOME, None)
    assert set(told) == {"scores", "backbone_data", "cs_fluctuation", "stop", "confidence"}
    assert "No reference could be held out" in told["confidence"]
