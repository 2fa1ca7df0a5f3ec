"""What a running job's end is told from."""

from __future__ import annotations

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
