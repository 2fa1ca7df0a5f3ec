"""Which step every rule names, and that none of them is ever without an answer."""

import math
import random
from dataclasses import replace

import pytest

from core.method.stopping.evidence import Evidence
from core.method.stopping.matched_loss import MatchedLoss
from core.method.stopping.rule import Evaluation, StopRule, as_proposal
from core.method.stopping.rules import Auto, CSFluctuation, MaxSteps, stop_rules


def evidence(best_step: int = 40, level: float = 0.5, *, at_end: bool = False, scale: float = 1.0) -> Evidence:
    return Evidence(best_step, level, gain=0.1, standard_error=0.02, confidence="medium", at_end=at_end, scale=scale)


def run(rule: StopRule, similarity, budget: int = 300, halving: float = 50.0) -> int:
    """Show a rule a run whose reference loss halves every `halving` steps; return the step it ended at."""
    for step in range(budget + 1):
        cs = similarity(step) if step else None
        rule.update(Evaluation(step, cs, 2 ** (-step / halving)))
        assert rule.published_step in rule.may_publish
        if rule.stopped:
            return step
    return budget


def two_stage(step: int) -> float:
    return sum(1 / (1 + math.exp(-(step - center) / 12)) for center in (40, 120))


def exponential(step: int) -> float:
    return 1 - math.exp(-step / 400)


def saturating(step: int) -> float:
    return 1 - math.exp(-step / 12)


def test_max_steps_publishes_the_last_step() -> None:
    rule = MaxSteps(120)
    assert run(rule, two_stage) == 120
    assert rule.published_step == 120


def test_matched_loss_stops_at_the_level_when_it_comes_first() -> None:
    rule = MatchedLoss(evidence(best_step=80, level=0.5), 300)
    assert run(rule, two_stage, halving=20) == 20
    assert "had fallen to 50 % of its start; that of the surrogates was at 50 %" in rule.reason
    assert "where the references held out of them were best" in rule.reason


def test_matched_loss_stops_at_the_step_when_the_level_is_never_reached() -> None:
    rule = MatchedLoss(evidence(best_step=40, level=0.01), 300)
    assert run(rule, two_stage) == 40
    assert rule.reason == "Published step 40: references held out of the surrogates were best at this step."


def test_a_level_that_hardly_fell_is_no_level_to_stop_at() -> None:
    rule = MatchedLoss(evidence(best_step=40, level=0.99), 300)
    assert run(rule, two_stage) == 40


def test_references_without_any_loss_before_training_are_stopped_at_the_step() -> None:
    rule = MatchedLoss(evidence(best_step=4), 300)
    for step in range(5):
        rule.update(Evaluation(step, None, 0.0))
    assert (rule.stopped, rule.published_step) == (True, 4)


@pytest.mark.parametrize(("level", "halving"), [(0.5, 20.0), (0.01, 50.0)])
def test_a_budget_of_the_surrogates_that_ended_is_not_called_their_best(level: float, halving: float) -> None:
    rule = MatchedLoss(evidence(best_step=40, level=level, at_end=True), 300)
    run(rule, two_stage, halving=halving)
    assert "surrogates' step 40" in rule.reason or "at their step 40" in rule.reason
    assert "near the end of their budget; held-out references had not clearly got worse by then" in rule.reason
    assert "were best" not in rule.reason


def test_a_budget_of_the_run_that_ended_is_not_called_the_best_step() -> None:
    rule = MatchedLoss(evidence(best_step=80, level=0.01), 60)
    assert run(rule, two_stage, budget=60) == 60
    assert "the run's budget of 60 steps ended there" in rule.reason
    assert "asks for about 80" in rule.reason
    assert "were best" not in rule.reason


def test_surrogates_that_saw_half_of_the_references_are_matched_at_twice_their_step() -> None:
    rule = MatchedLoss(evidence(best_step=40, level=0.01, scale=2.0), 300)
    assert run(rule, two_stage) == 80
    assert "at their step 40, which is step 80 here" in rule.reason


def test_what_follows_the_stop_is_bounded_by_it_and_not_by_a_step_that_was_never_reached() -> None:
    rule = stop_rules(evidence(100, 0.5), 20, 300, learning_rate=1e-3, semantics="paper", stretch=1.0, look_ahead=1.25)[
        "auto"
    ]
    assert run(rule, exponential, halving=40) == 50  # the level at step 40, and a fifth of the run more
    assert rule.published_step == 40


def test_replay_stretches_the_step_of_the_matched_loss() -> None:
    rule = MatchedLoss(evidence(best_step=40, level=0.01), 300, stretch=2.0)
    assert run(rule, two_stage) == 80


def test_cs_fluctuation_publishes_the_left_edge_of_the_second_valley() -> None:
    rule = CSFluctuation(12, 1e-3)
    ended = run(rule, two_stage)
    valley = rule.detector.turning_point
    assert ended == valley.detect == rule.published_step + 3 * 12 - 1
    assert "turning point" in rule.reason


@pytest.mark.parametrize("fallback", [None, MatchedLoss(evidence(), 300)])
def test_no_second_valley_still_has_an_answer(fallback: MatchedLoss | None) -> None:
    rule = CSFluctuation(30, 1e-3, fallback=fallback)
    for step in range(101):
        rule.update(Evaluation(step, exponential(step), 2 ** (-step / 50)))
    assert not rule.stopped
    assert rule.published_step == (40 if fallback else 100)
    assert "no second valley" in rule.reason


def test_a_settled_curve_ends_the_run_at_its_left_edge() -> None:
    rule = CSFluctuation(10, 1e-3)
    ended = run(rule, saturating)
    assert ended < 300
    assert rule.published_step == ended - 28
    assert "settled" in rule.reason


@pytest.mark.parametrize(("best_step", "ended"), [(40, 98), (90, 98), (110, 110)])
def test_held_out_evidence_names_the_step_and_a_clear_turning_point_ends_the_run(best_step: int, ended: int) -> None:
    """The turning point, step 63, is known at step 98; alone the matched loss would go on to 3.5 times its step."""
    rule = stop_rules(evidence(best_step, 0.001), 12, 500, learning_rate=1e-3, semantics="paper", stretch=1.0)["auto"]
    assert isinstance(rule, Auto)
    assert run(rule, two_stage, budget=500) == ended
    assert (rule.turning.turning_point, rule.turning.detector.turning_point.detect) == (63, 98)
    assert rule.matched.published_step == rule.published_step == best_step
    assert rule.ended_by_turning
    assert rule.reason.endswith(
        f"CS-Fluctuation turned at step 63, clear of chance, and ended the run at step {ended}."
    )


def test_a_run_that_ends_anyway_is_not_said_to_be_ended_by_the_turning_point() -> None:
    given = {"learning_rate": 1e-3, "semantics": "paper", "stretch": 1.0}
    horizon = stop_rules(evidence(100, 0.001), 12, 500, look_ahead=1.0, **given)["auto"]
    budget = stop_rules(evidence(200, 0.001), 12, 120, **given)["auto"]
    for rule, last in ((horizon, 100), (budget, 120)):
        assert run(rule, two_stage, budget=last) == last
        assert not rule.ended_by_turning
        assert rule.reason.endswith("CS-Fluctuation's turning point is at step 63.")
    early = stop_rules(evidence(20, 0.001), 12, 500, **given)["auto"]
    assert run(early, two_stage, budget=500) == 70  # the horizon comes before the valley is known
    assert "CS-Fluctuation" not in early.reason


def test_a_settled_curve_ends_the_run_and_names_no_step_beside_held_out_evidence() -> None:
    rule = stop_rules(evidence(30, 0.001), 10, 300, learning_rate=1e-3, semantics="paper", stretch=1.0)["auto"]
    ended = run(rule, saturating)
    assert 30 < ended < 105
    assert rule.published_step == 30
    assert rule.reason.endswith(
        f"CS-Fluctuation settled at step {ended - 28}, clear of chance, and ended the run at step {ended}."
    )


def chance(step: int) -> float:
    """A random walk: its valleys are chance."""
    rng = random.Random(3)
    return sum(rng.gauss(0, 1e-3) for _ in range(step))


def test_a_turning_point_that_may_be_chance_neither_ends_the_run_nor_names_a_step() -> None:
    rule = stop_rules(evidence(90, 0.001), 12, 300, learning_rate=1e-3, semantics="paper", stretch=1.0)["auto"]
    assert run(rule, chance) == 300
    point = rule.turning.turning_point
    assert point is not None
    assert point < 90
    assert not rule.turning.detector.informative
    assert rule.published_step == 90
    assert f"step {point} may be chance and was passed over" in rule.reason
    alone = stop_rules(None, 12, 300, learning_rate=1e-3, semantics="paper", stretch=1.0)["auto"]
    assert run(alone, chance) == alone.published_step == 300
    assert "nothing clear of chance" in alone.reason


def test_auto_ends_after_three_and_a_half_best_steps_without_a_valley() -> None:
    rules = stop_rules(evidence(40, 0.001), 20, 300, learning_rate=1e-3, semantics="paper", stretch=1.0)
    assert run(rules["auto"], exponential) == 140
    assert rules["auto"].published_step == 40


def test_auto_does_not_end_before_the_matched_loss_is_known() -> None:
    rules = stop_rules(evidence(200, 0.001), 10, 300, learning_rate=1e-3, semantics="paper", stretch=1.0)
    assert run(rules["auto"], saturating) == 200


def test_without_evidence_auto_relies_on_the_turning_point() -> None:
    rules = stop_rules(None, 12, 300, learning_rate=1e-3, semantics="paper", stretch=1.0)
    assert "matched_loss" not in rules
    run(rules["auto"], two_stage)
    assert rules["auto"].published_step == rules["auto"].turning.turning_point
    assert rules["auto"].ended_by_turning
    assert "No reference could be held out" in rules["auto"].reason


@pytest.mark.parametrize("seed", range(10))
def test_no_rule_ever_names_a_step_it_let_go(seed: int) -> None:
    """Keep only what the rules ask for, as the run does, and look the published step up at the end."""
    rng, level = random.Random(seed), 0.0
    rules = stop_rules(evidence(60, 0.3), 10, 300, learning_rate=1e-3, semantics="released", stretch=1.25)
    kept: set[int] = set()
    for step in range(1, 301):
        level += rng.gauss(0, 1e-4)
        kept.add(step)
        for rule in rules.values():
            rule.update(Evaluation(step, level if step % 2 == 0 else None, 2 ** (-step / 50)))
        kept &= set().union(*(rule.may_publish for rule in rules.values()))
        assert {rule.published_step for rule in rules.values()} <= kept
    assert len(kept) < 100


def test_an_unclear_curve_says_that_it_may_be_chance() -> None:
    rng, level, rule = random.Random(2), 0.0, CSFluctuation(10, 1e-3)
    for step in range(300):
        level += rng.gauss(0, 1e-4)
        rule.update(Evaluation(step, level, None))
    assert "may be chance" in rule.reason


def test_the_level_that_is_told_is_the_one_that_the_run_had_reached() -> None:
    rule = MatchedLoss(evidence(best_step=80, level=0.5), 300)
    for step, loss in enumerate((1.0, 0.7, 0.3)):
        rule.update(Evaluation(step, None, loss))
    assert "had fallen to 30 % of its start; that of the surrogates was at 50 % where" in rule.reason


@pytest.mark.parametrize("level", [0.5, 0.01])
def test_held_out_references_that_got_worse_are_not_called_best(level: float) -> None:
    rule = MatchedLoss(replace(evidence(40, level), gain=-0.1), 300)
    run(rule, two_stage, halving=20)
    assert "least bad, though worse than before training" in rule.reason
    assert "were best" not in rule.reason


def test_a_budget_that_is_spent_is_not_said_to_have_been_asked_for() -> None:
    rule = MaxSteps(120)
    run(rule, two_stage, budget=120)
    assert rule.reason == "Published the last step, 120: its budget of 120 steps is spent."
    early = MaxSteps(120)
    early.update(Evaluation(60))
    assert "ended before its budget of 120 steps" in early.reason


def test_what_a_rule_proposes_is_not_said_to_be_published() -> None:
    rule = CSFluctuation(30, 1e-3, fallback=MatchedLoss(evidence(), 300))
    for step in range(101):
        rule.update(Evaluation(step, exponential(step), 2 ** (-step / 50)))
    assert as_proposal(rule.reason).startswith("CS-Fluctuation showed no second valley. Proposed step 40: ")
    assert "Published" not in as_proposal(rule.reason)
