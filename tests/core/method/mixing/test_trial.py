"""The mixture tried on held-out references: like data is found to help, unlike data to harm, and gamma follows."""

from __future__ import annotations

import pytest
import torch

from core.method.mixing.gamma import choose_gamma
from core.method.mixing.trial import TOLERATED_OF_PICTURES, Trial, try_mixture
from core.method.protection.protection import Protection
from core.method.stopping.evidence import SurrogateCurves
from core.method.training.surrogates import Surrogate, train_folds
from core.parameters.protection.means import DATA, PROBE
from tests.core.method.test_albat import TONES, drain, parameters

CURVES = SurrogateCurves(((0,), (1,)))


@pytest.mark.parametrize(
    ("gain", "error", "verdict", "gamma"),
    [
        (0.05, 0.01, "helps", 0.25),
        (0.01, 0.02, "neutral", 0.25),
        (-0.01, 0.02, "neutral", 0.25),
        (-0.008, 0.001, "neutral", 0.25),
        (-0.03, 0.02, "harms", 0.0),
        (-0.05, 0.01, "harms", 0.0),
    ],
)
def test_a_doubt_leaves_the_data_out_and_only_evidence_calls_it_helpful(gain, error, verdict, gamma) -> None:
    trial = Trial(0.25, gain, error, CURVES, clusters=8)
    choice = trial.decide()
    assert (trial.verdict, choice.gamma) == (verdict, gamma)
    assert f"{abs(gain):.1%}" in choice.reason
    assert ("not used" in choice.reason) == (gamma == 0)


def test_a_large_share_that_harms_is_halved_and_a_small_one_given_up() -> None:
    assert Trial(0.5, -0.05, 0.01, CURVES, clusters=8).next_gamma == 0.25
    assert Trial(0.25, -0.05, 0.01, CURVES, clusters=8).next_gamma is None
    assert Trial(0.5, 0.0, 0.01, CURVES, clusters=8).next_gamma is None


def test_a_gain_that_only_more_steps_may_have_made_is_not_called_help() -> None:
    falling = SurrogateCurves(((0,), (1,)), 0.5)
    for step in range(6):
        falling.add(step, torch.full((2, 2), 1.0 - 0.1 * step))
    trial = Trial(0.5, 0.05, 0.001, falling, clusters=8)
    assert trial.verdict == "neutral"
    assert "more steps may be all" in trial.sentence
    assert "more steps" not in Trial(0.5, -0.05, 0.001, falling, clusters=8).sentence
    assert trial.decide().gamma == 0.5


def test_the_sentence_says_lower_where_the_data_helps() -> None:
    assert "loss was 5.0% lower" in Trial(0.25, 0.05, 0.01, CURVES, clusters=8).sentence
    assert "-8.0% to -2.0%" in Trial(0.25, 0.05, 0.01, CURVES, clusters=8).sentence
    assert "loss was 5.0% higher" in Trial(0.25, -0.05, 0.01, CURVES, clusters=8).sentence


@pytest.mark.parametrize("data", DATA.values())
@pytest.mark.parametrize("probe", PROBE.values())
def test_the_sentence_says_what_the_batches_held_and_on_what_the_backbone_was_kept(data: str, probe: str) -> None:
    told = Trial(0.5, 0.05, 0.01, CURVES, clusters=8, kept=(2.0, 1.0), data=data, probe=probe).sentence
    assert told.startswith(f"Tried on held-out references: with 50% of every batch filled with {data} their loss was")
    assert told.endswith(f"On {probe} it moved 50% less away from the untouched backbone than without.")


@pytest.mark.parametrize(
    ("gain", "error", "why"),
    [
        (0.05, 0.01, "is used: it helps."),
        (0.01, 0.02, "is used: no harm was seen, and it is there to limit forgetting."),
        (-0.008, 0.001, "is used: up to 1% is a price that we pay for less forgetting."),
        (-0.015, 0.02, "is used: the harm is within its own error, and it is there to limit forgetting."),
    ],
)
def test_harm_that_was_seen_and_borne_is_not_called_none(gain: float, error: float, why: str) -> None:
    assert Trial(0.25, gain, error, CURVES, clusters=8).decide().reason.endswith(why)


def test_a_share_says_where_it_comes_from() -> None:
    asked = {"comparable": True, "n": 4, "m": 8}
    assert choose_gamma("auto", **asked).reason == "0.5 of the batch slots is where the preset subject starts."
    assert "where the preset face starts" in choose_gamma("auto", **asked, name="face").reason
    assert choose_gamma(0.3, **asked).reason == "0.3 of the batch slots, as asked."
    assert choose_gamma("natural", **asked).reason.endswith("8 examples beside 4 references give 0.67.")
    most = choose_gamma("natural", comparable=True, n=4, m=400)
    assert most.reason.endswith("400 examples beside 4 references give 0.95, the most that there may be.")
    assert "No candidate was selected" in choose_gamma("auto", comparable=True, n=4, m=0).reason
    alone = choose_gamma("auto", comparable=False, n=4, m=8)
    assert (alone.gamma, "A mixture can't be tried" in alone.reason) == (0.0, True)


@pytest.mark.slow
def test_more_of_the_same_helps_more_than_other_data(tiny_language) -> None:
    p = parameters("texts", folds=2, surrogate_steps=40, batch_size=4, learning_rate=1e-2)
    references = tiny_language.encode(TONES[:4])
    like = tiny_language.encode([{"text": f"arr, the number {word} be mine, arr"} for word in ("six", "seven", "ten")])
    digits = tiny_language.encode([{"text": f"{number}" * 36} for number in (11, 73, 905)])
    _, plain = drain(train_folds(tiny_language, references, [[0, 1], [2, 3]], p))
    trials = [
        drain(try_mixture(tiny_language, references, Protection(0.5, examples=part), plain, p))[1]
        for part in (like, digits)
    ]
    assert trials[0].gain > 2 * max(0.0, trials[1].gain)
    assert trials[0].curves.gamma == 0.5
    assert trials[0].curves.folds == plain.curves.folds


def test_where_nothing_was_held_out_there_is_no_trial(tiny_language) -> None:
    references = tiny_language.encode(TONES[:2])
    curves = SurrogateCurves(((),))
    curves.add(0, torch.ones(1, 2))
    curves.add(1, torch.ones(1, 2))
    plain = Surrogate(tiny_language.lora.new(2, 2.0), 1, curves)
    steps = try_mixture(tiny_language, references, Protection(0.5, examples=references), plain, parameters("texts"))
    assert drain(steps) == ([], None)


def test_what_a_mixture_changed_is_told_as_a_share_of_the_loss_before_training() -> None:
    told = Trial(0.25, 0.05, 0.01, CURVES, clusters=8).sentence
    assert "as a share of what it was before training (90 % interval" in told


def test_pictures_take_more_loss_for_less_forgetting_and_say_so() -> None:
    for gain, used in ((-0.017, 0.25), (-0.035, 0.0)):
        choice = Trial(0.25, gain, 0.01, CURVES, TOLERATED_OF_PICTURES).decide()
        assert choice.gamma == used
        assert ("up to 3% is a price" in choice.reason) == bool(used)


def test_intervals_of_few_references_are_wider_and_none_is_narrower_than_what_all_share() -> None:
    few, many = (Trial(0.5, 0.0, 0.0, CURVES, clusters=count).interval for count in (3, 40))
    assert few[1] > many[1] > 0.0125 * 1.645
    assert Trial(0.5, 0.0, 0.01, CURVES, clusters=1).interval[1] == float("inf")


def test_where_all_references_are_near_duplicates_no_interval_is_told() -> None:
    told = Trial(0.5, -0.02, float("inf"), CURVES, clusters=1)
    assert "2.0% higher than without, as a share of what it was before training." in told.sentence
    assert "interval" not in told.decide().reason


@pytest.mark.parametrize(("share", "gamma"), [(0.5, 0.25), (0.7, 0.0)])
def test_what_keeps_the_backbone_much_nearer_may_cost_more(share: float, gamma: float) -> None:
    choice = Trial(0.25, -0.02, 0.01, CURVES, kept=(2.0, 2.0 * share)).decide()
    assert choice.gamma == gamma
    assert ("up to 3% is a price" in choice.reason) == bool(gamma)
