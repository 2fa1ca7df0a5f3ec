"""The window follows the surrogates' best step and always leaves room to confirm a second valley."""

import pytest

from core.method.stopping.window import calibrate_window


@pytest.mark.parametrize("best", [30, 75, 125, 900, 4000])
def test_the_window_is_the_best_step_over_one_and_a_half(best: int) -> None:
    window = calibrate_window(best, budget=20 * best)
    assert window.steps == pytest.approx(best / 1.5, rel=0.05)
    assert 10 <= window.evaluations <= 50


@pytest.mark.parametrize("budget", [60, 300, 1000, 20000])
def test_a_late_best_step_leaves_room_for_the_second_valley(budget: int) -> None:
    window = calibrate_window(best_step=budget, budget=budget)
    assert 5 * window.steps <= 1.05 * budget
    assert "fifth of the step budget" in window.reason


def test_a_very_early_best_step_still_has_ten_evaluations() -> None:
    assert calibrate_window(4, 300).evaluations == 10


def test_without_held_out_references_the_budget_decides() -> None:
    assert calibrate_window(None, 300).steps == 60


def test_a_window_that_is_longer_than_a_fifth_of_the_budget_says_why() -> None:
    short = calibrate_window(None, 32).reason
    assert short == (
        "The window is 10 evaluations, 1 step apart: a fifth of the step budget, 6.4 steps, and 10 evaluations at "
        "least."
    )
    assert "at least" not in calibrate_window(None, 300).reason
    assert "the surrogates' best step / 1.5, 20.0 steps" in calibrate_window(30, 300).reason
