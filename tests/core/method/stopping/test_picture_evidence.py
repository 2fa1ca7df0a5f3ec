"""The step that the pictures favour, on made-up measurements."""

import pytest

from core.method.stopping.picture_evidence import Pictures, choose
from core.method.stopping.window import Window
from core.method.training.final_run import Outcome


def judged(*rows: tuple[int, float, float]) -> list[Pictures]:
    return [Pictures(step, (), (), similarity, swallowed, 0.0) for step, similarity, swallowed in rows]


def test_the_first_step_at_which_the_subject_has_levelled_off_is_published() -> None:
    evidence = choose(judged((100, 0.5, 0.0), (150, 0.85, 0.05), (200, 0.88, 0.05), (300, 0.9, 0.1)))
    assert evidence.published_step == 150
    assert "stop coming closer" in evidence.reason


def test_swallowing_that_begins_earlier_takes_precedence() -> None:
    evidence = choose(judged((100, 0.5, 0.02), (150, 0.7, 0.05), (200, 0.8, 0.3), (300, 1.0, 0.5)))
    assert evidence.published_step == 150
    assert "start to turn into the subject" in evidence.reason


def test_swallowing_from_the_first_step_leaves_the_first_step() -> None:
    assert choose(judged((100, 0.5, 0.4), (150, 0.7, 0.5))).published_step == 100


def test_a_subject_that_never_shows_leaves_the_step_alone() -> None:
    assert choose(judged((100, 0.02, 0.0), (150, 0.05, 0.0))).published_step is None
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
    assert outcome.picture_steps == (40, 70, 140)
    final = outcome.favouring(70, "The pictures say so.")
    assert final.published_step == final.kept["published"] == (70 if rule == "auto" else 40)
    assert final.proposals["pictures"] == (70, "The pictures say so.")
    assert outcome.favouring(None, "They do not show it.").published_step == 40
