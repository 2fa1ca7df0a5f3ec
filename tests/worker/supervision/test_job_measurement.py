"""What a running job's end is told from."""

from __future__ import annotations

import pytest

from core.estimates.estimator import Estimator
from core.estimates.sizes import Steps
from core.parameters.schedule import STAGES
from core.references.items import ImageItem, References
from tests.core.estimates.measured import OTHER, SMALL, measured
from tests.core.parameters.test_resolving import EMOJI, settled
from worker.protocol import Json, Progress, StageDone
from worker.supervision.job_measurement import JobMeasurement

CALIBRATED = [measured(SMALL, Steps(12, 24, 16)), measured(OTHER, Steps(12, 24, 16))]
READ = References("images", tuple(ImageItem(f"{n}.png", "sks", b"", 8, 8, str(n)) for n in range(6)))


def gauge(validation: int = 0) -> JobMeasurement:
    return JobMeasurement("cpu: toy", settled({"stop": "max_steps", "resolution": 512}), READ, validation)


def test_validation_data_take_their_time_in_what_is_left() -> None:
    estimator = Estimator(EMOJI, CALIBRATED, "cpu: toy")
    without, with_validation = (gauge(amount).foretell(estimator, None, ()).eta_seconds for amount in (0, 500))
    assert without is not None
    assert with_validation is not None
    assert with_validation > 1.2 * without


def test_a_job_of_which_nothing_was_measured_is_told_by_a_rule_of_thumb() -> None:
    position = gauge().foretell(Estimator(EMOJI, [], "cpu: toy"), None, ())
    assert position.eta_seconds is not None
    assert position.course is not None
    assert list(position.course["stages"]) == list(STAGES)


def test_while_a_backbone_makes_its_own_samples_their_pace_is_told_and_all_that_comes_after() -> None:
    bare = EMOJI.model_copy(update={"pool": None})
    settled_bare = settled({"stop": "max_steps", "resolution": 512}, backbone=bare)
    left = []
    for seconds in (5000.0, 10.0, 0.0):
        told = JobMeasurement("cpu: toy", settled_bare, READ)
        told.foretell(Estimator(bare, CALIBRATED, "cpu: toy"), None, ())
        position = told.position(Progress("prepare", 8, 67, seconds))
        assert position.course is not None
        left.append(position.course["stages"]["prepare"]["expected"])
    slow, fast, none = left
    assert slow - fast == pytest.approx(4990, abs=0.5)
    assert fast - none == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize(("kinds", "state"), [({"encode": {}}, "skipped"), ({"score": {}}, "done"), (None, "done")])
def test_a_stage_is_skipped_by_what_its_trainer_has_computed(kinds: Json | None, state: str) -> None:
    told = gauge()
    told.foretell(Estimator(EMOJI, CALIBRATED, "cpu: toy"), None, ())
    for stage in STAGES[:2]:
        told.note(StageDone(stage))
    told.position(Progress("score", 1, 2))
    told.note(StageDone("score", None if kinds is None else {"kinds": kinds}))
    course = told.course()
    assert course is not None
    assert course["stages"]["score"]["state"] == state
