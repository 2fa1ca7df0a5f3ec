"""What the train stage says when training has ended."""

from __future__ import annotations

import pytest

from core.method.stopping.rule import RuleName
from core.method.stopping.window import Window
from core.method.training.final_run import Outcome
from worker.stages.train import ended


def outcome(rule: RuleName) -> Outcome:
    return Outcome(
        published_step=10,
        rule=rule,
        reason="Published step 10.",
        turning_point_step=None,
        matched_loss_step=10,
        last_step=60,
        stopped_early=True,
        confidence="medium",
        informative=False,
        peak_to_noise=None,
        window=Window(10, 2, ""),
        kept={"published": 10, "last": 60},
        gallery=(10, 60),
        proposals={},
    )


@pytest.mark.parametrize(
    ("rule", "sampled", "later"),
    [
        ("auto", True, ", and the samples of the kept steps may choose another"),
        ("auto", False, ""),
        ("matched_loss", True, ""),
        ("max_steps", True, ""),
    ],
)
def test_the_rule_names_a_step_and_only_samples_that_decide_may_choose_another(
    rule: RuleName, sampled: bool, later: str
) -> None:
    said = ended(outcome(rule), 100, sampled=sampled)
    assert said == f"Training ended at step 60 of 100; its stopping rule names step 10{later}."
