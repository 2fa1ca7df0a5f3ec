"""What a job says of its probe."""

from __future__ import annotations

from worker.stages.export.forgetting import reasons


def test_a_change_is_told_of_the_step_at_which_it_was_seen() -> None:
    watched = [{"step": step, "probe_loss": loss} for step, loss in ((0, 1.0), (4, 1.1), (9, 1.2))]
    summary = {"probe": {"on": "pool", "examples": 3}, "forgetting": 0.1, "published_step": 6}
    told = "At step 4 the loss on 3 held-out examples of the backbone's data is 10.0% higher than before training."
    assert reasons(summary, [*watched, {"step": 6}]) == {"forgetting": told}
