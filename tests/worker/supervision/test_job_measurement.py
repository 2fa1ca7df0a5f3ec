"""What a running job's end is told from."""

from __future__ import annotations

import pytest

from core.estimates.estimator import Estimator
from core.estimates.sizes import Steps
from core.references.items import ImageItem, References
from tests.core.estimates.measured import OTHER, SMALL, measured
from tests.core.parameters.test_resolving import EMOJI, settled
from worker.protocol import Progress
from worker.supervision.job_measurement import JobMeasurement

CALIBRATED = [measured(SMALL, Steps(12, 24, 16)), measured(OTHER, Steps(12, 24, 16))]


def test_validation_data_take_their_time_in_what_is_left() -> None:
    read = References("images", tuple(ImageItem(f"{n}.png", "sks", b"", 8, 8, str(n)) for n in range(6)))
    left = []
    for validation in (0, 500):
        gauge = JobMeasurement("cpu: toy", settled({"stop": "max_steps", "resolution": 512}), read, validation)
        gauge.foretell(Estimator(EMOJI, CALIBRATED, "cpu: toy"))
        left.append(gauge.left(Progress("prepare", 0, 10, None)))
    without, with_validation = left
    assert without is not None
    assert with_validation is not None
    assert with_validation > 1.2 * without


def test_while_a_backbone_makes_its_own_samples_their_pace_is_told_and_all_that_comes_after() -> None:
    read = References("images", tuple(ImageItem(f"{n}.png", "sks", b"", 8, 8, str(n)) for n in range(6)))
    bare = EMOJI.model_copy(update={"pool": None})
    gauge = JobMeasurement("cpu: toy", settled({"stop": "max_steps", "resolution": 512}, backbone=bare), read)
    gauge.foretell(Estimator(bare, CALIBRATED, "cpu: toy"))
    before = gauge.left(Progress("prepare", 0, 67, None))
    slow, fast, none = (gauge.left(Progress("prepare", 8, 67, seconds)) for seconds in (5000.0, 10.0, 0.0))
    assert before is not None
    assert slow is not None
    assert fast is not None
    assert none is not None
    assert slow - fast == pytest.approx(4990, abs=0.2)
    assert fast - none == pytest.approx(10, abs=0.2)
    assert before > none  # samples are counted before their pace is known
