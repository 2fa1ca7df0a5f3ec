"""The step that the pictures favour, on made-up measurements."""

from dataclasses import replace

import pytest

from core.method.stopping import picture_evidence
from core.method.stopping.picture_evidence import PictureEvidence, Pictures
from core.method.stopping.window import Window
from core.method.training.final_run import Outcome


def choose(judged: list[Pictures], named: int = 1, **how: bool) -> PictureEvidence:
    return picture_evidence.choose(judged, named, **how)


def judged(*rows: tuple[int, float, float]) -> list[Pictures]:
    return [Pictures(step, (), (), similarity, swallowed, 0.0) for step, similarity, swallowed in rows]


def drawn_in_style(*rows: tuple[int, float, float, float]) -> list[Pictures]:
    return [
        Pictures(step, (), (), similarity, swallowed, 0.0, content) for step, similarity, swallowed, content in rows
    ]


def test_the_first_step_near_the_nearest_is_published_and_not_called_the_nearest() -> None:
    evidence = choose(judged((0, 0.0, 0.0), (100, 0.5, 0.0), (150, 0.85, 0.05), (200, 0.88, 0.05), (300, 0.9, 0.1)))
    assert evidence.published_step == 200
    assert "go at least 95% as far towards the references as those of any" in evidence.reason
    assert "feature similarity 0.88, at best 0.90" in evidence.reason
    assert "does not say what a person recognises" in evidence.reason


@pytest.mark.parametrize("style", [False, True])
def test_a_step_that_the_rules_do_not_name_is_told_beside_theirs_in_one_sentence(style: bool) -> None:
    rows = judged((10, 0.5, 0.0), (20, 0.9, 0.0))
    begin = "Published step 20, not step 10, which the stopping rules name: the first kept step whose pictures go"
    assert choose(rows, 10, style=style).reason.startswith(begin)
    assert choose(rows, 20, style=style).reason.startswith("Published step 20: the first kept step whose pictures go")
    swallowed = choose(judged((10, 0.5, 0.0), (20, 0.7, 0.0), (30, 1.0, 0.5)), 30)
    assert swallowed.reason.startswith("Published step 20, not step 30, which the stopping rules name: the last kept")
    assert "stopping rules" not in choose(judged((10, 0.0, 0.0)), 20).reason


def test_swallowing_that_begins_earlier_takes_precedence() -> None:
    evidence = choose(judged((100, 0.5, 0.02), (150, 0.7, 0.05), (200, 0.8, 0.3), (300, 1.0, 0.5)))
    assert evidence.published_step == 150
    assert (
        "the last kept step before unrelated prompts go more than 15% as far towards the references" in evidence.reason
    )


def test_unrelated_prompts_that_move_at_one_step_and_are_back_at_the_next_are_noise() -> None:
    noisy = ((6, 0.02, 0.05), (7, 0.05, 0.01), (9, 0.2, 0.01), (12, 0.22, 0.01))
    assert choose(judged(*noisy)).published_step == 12
    stays = ((6, 0.02, 0.05), (7, 0.05, 0.06), (9, 0.2, 0.01), (12, 0.22, 0.01))
    assert choose(judged(*stays)).published_step == 6
    late = ((6, 0.1, 0.0), (7, 0.15, 0.0), (9, 0.2, 0.0), (12, 0.3, 0.2))
    assert choose(judged(*late)).published_step == 9


def test_swallowing_from_the_first_kept_step_on_is_said_so() -> None:
    evidence = choose(judged((100, 0.5, 0.4), (150, 0.7, 0.5)))
    assert evidence.published_step == 100
    assert "the first kept step; there already unrelated prompts go more than 15% as far" in evidence.reason


def test_a_style_may_reach_prompts_that_do_not_name_it_and_that_is_told() -> None:
    evidence = choose(drawn_in_style((100, 0.5, 0.4, 1.0), (150, 0.9, 0.8, 1.0), (200, 1.0, 0.9, 1.0)), style=True)
    assert evidence.published_step == 150
    assert "Prompts without the trigger have moved 0.80 of that way, which was not asked for" in evidence.reason
    wanted = choose(drawn_in_style((100, 0.5, 0.4, 1.0)), style=True, beside=False)
    assert "not asked for" not in wanted.reason


def test_a_style_that_loses_its_contents_has_gone_too_far() -> None:
    evidence = choose(drawn_in_style((100, 0.6, 0.0, 1.0), (150, 0.7, 0.0, 0.9), (200, 1.0, 0.0, 0.3)), style=True)
    assert evidence.published_step == 150
    assert "Contents are lost at step 200." in evidence.reason
    assert "at best 0.70" in evidence.reason


@pytest.mark.parametrize("before", [-0.02, 0.05])
def test_a_style_that_comes_only_where_contents_are_lost_names_no_step(before: float) -> None:
    evidence = choose(drawn_in_style((1, before, 0.0, 1.0), (150, 0.9, 0.0, 0.3)), style=True)
    assert evidence.published_step is None
    assert "only at steps that lose their contents" in evidence.reason
    both = choose(drawn_in_style((1, 0.2, 0.0, 1.0), (150, 0.9, 0.0, 0.3)), style=True)
    assert both.published_step == 1
    assert "only at steps that lose" not in both.reason


@pytest.mark.parametrize("style", [False, True])
def test_pictures_that_go_less_than_two_thirds_of_the_way_are_told_of(style: bool) -> None:
    far = choose(judged((100, 0.3, 0.0), (150, 0.65, 0.0)), style=style)
    near = choose(judged((100, 0.3, 0.0), (150, 0.7, 0.0)), style=style)
    assert far.published_step == near.published_step == 150
    assert "less than two thirds of the way" in far.reason
    assert "less than two thirds of the way" not in near.reason
    detailed = [replace(one, by_details=True) for one in judged((100, 0.3, 0.0), (150, 0.5, 0.0))]
    assert "less than two thirds" not in choose(detailed, style=style).reason  # clean ones are no nearer than that


def test_a_subject_that_never_shows_leaves_the_step_alone() -> None:
    evidence = choose(judged((100, 0.02, 0.0), (150, 0.05, 0.0)))
    assert evidence.published_step is None
    assert "the run may have been too short, or this backbone may be unable to draw" in evidence.reason
    assert choose([]).published_step is None


@pytest.mark.parametrize("rule", ["auto", "cs_fluctuation", "matched_loss", "max_steps"])
def test_only_auto_lets_the_pictures_decide(rule: str) -> None:
    outcome = Outcome(
        published_step=40,
        rule=rule,
        reason="Published step 40.",
        turning_point_step=70,
        matched_loss_step=40,
        last_step=140,
        stopped_early=True,
        confidence="medium",
        informative=True,
        peak_to_noise=25.0,
        window=Window(10, 2, ""),
        kept={"published": 40, "matched_loss": 40, "turning_point": 70, "last": 140},
        gallery=(20, 40, 70, 140),
        proposals={},
    )
    final = outcome.favouring(70, "The pictures say so.", "pictures")
    assert final.published_step == final.kept["published"] == (70 if rule == "auto" else 40)
    assert final.proposals["pictures"] == (70, "The pictures say so.")
    silent = outcome.favouring(None, "They do not show it.", "pictures")
    assert silent.published_step == 40
    assert "They do not show it." in silent.reason


def test_of_unrelated_prompts_that_are_not_there_nothing_is_said() -> None:
    rows = judged((100, 0.5, 0.0), (150, 0.9, 0.0))
    assert "nrelated" not in choose(rows, beside=False).reason
    assert "Unrelated prompts have not moved that way." in choose(rows).reason
    assert "Unrelated prompts have moved 0.04 of that way." in choose(judged((100, 0.9, 0.04))).reason


def test_unrelated_prompts_that_went_the_other_way_are_not_said_to_have_moved_towards_the_references() -> None:
    assert "have not moved that way" in choose(judged((100, 0.5, -0.3))).reason
    style = choose(drawn_in_style((100, 0.5, -0.3, 1.0)), style=True)
    assert "Prompts without the trigger have not moved that way." in style.reason
    assert "not asked for" not in style.reason


def test_steps_that_lose_contents_are_named_one_by_one_and_no_others() -> None:
    drawn = drawn_in_style((100, 0.9, 0.0, 0.45), (150, 0.5, 0.0, 1.0), (200, 0.8, 0.0, 0.4), (300, 0.3, 0.0, 1.0))
    lossy = choose(drawn, style=True)
    assert lossy.published_step == 150
    assert "of those that keep their contents" in lossy.reason
    assert "Contents are lost at steps 100, 200." in lossy.reason
    whole = choose(drawn_in_style((150, 0.5, 0.0, 1.0), (300, 0.3, 0.0, 1.0)), style=True)
    assert "lost" not in whole.reason
    assert "of those that keep" not in whole.reason


def test_a_similarity_that_is_hardly_below_nothing_is_told_as_nothing() -> None:
    assert "(feature similarity 0.00 at best;" in choose(judged((100, -0.001, 0.0))).reason
    assert "(feature similarity -0.30 at best;" in choose(judged((100, -0.3, 0.0))).reason
