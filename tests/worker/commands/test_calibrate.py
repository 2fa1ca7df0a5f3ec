"""Calibrating as a command, and jobs that teach estimates and tell their own end."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from core.backbones.registry import Registry
from core.database.engine import connect, sessions
from core.database.tables import Measurement
from core.estimates import measurements
from core.estimates.estimator import Estimator
from core.estimates.sizes import JobSize
from core.parameters.parameters import Parameters
from core.parameters.schedule import STAGES
from core.references.items import References
from core.settings import Settings
from tests.worker.floor import Floor, register, run_module
from tests.worker.stages.conftest import image_record
from worker.device import hardware
from worker.protocol import Progress, StageDone
from worker.supervision.job_measurement import JobMeasurement


@pytest.mark.slow
def test_a_calibration_run_makes_estimates_that_rest_on_it(tiny_diffusion_folder: Path, tmp_path: Path) -> None:
    data = register(image_record(tiny_diffusion_folder, tmp_path), tmp_path / "data")
    done = run_module("worker.commands.calibrate", data, "--backbone", "tiny")
    assert done.returncode == 0, done.stderr
    settings = Settings(data=data)
    assert hardware(settings) in done.stdout
    assert not list((data / "work").iterdir())
    record = Registry.load(settings).get("tiny")
    with sessions(connect(settings.database))() as session:
        rows = measurements.recent(session, "tiny", record.measured_as, hardware(settings))
        estimator = Estimator.of(session, record, hardware(settings))
    assert [row.source for row in rows] == ["calibration"] * 2
    assert {row.shape.rank for row in rows} == {8, 32}
    assert (estimator.model.jobs, estimator.model.calibrations) == (0, 2)
    data_of_six = estimator.data(6)
    assert (data_of_six.candidates, data_of_six.probe) == (20, 3)
    forecast = estimator.model.forecast(rows[0].shape, data_of_six)
    assert all(forecast.stages[stage].expected > 0 for stage in STAGES if stage != "trial")


def test_calibrating_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = run_module("worker.commands.calibrate", tmp_path, "--backbone", "none")
    assert done.returncode == 2
    assert done.stderr.startswith("albatross: There is no such backbone.")
    assert "Traceback" not in done.stderr


def test_a_finished_job_is_measured_and_tells_the_end_of_the_next(floor: Floor) -> None:
    first = floor.job(suffix="tell")
    floor.supervise()
    assert floor.get(first).state == "SUCCEEDED"
    with floor.sessions() as session:
        (row,) = session.scalars(select(Measurement)).all()
    assert (row.backbone, row.source, row.device) == ("tiny-a", "job", hardware(floor.settings))
    assert set(row.data["work"]) == set(STAGES)
    assert JobSize(**row.data["shape"]).max_steps == 7
    assert "cat" not in str(row.data)  # nothing that a person wrote
    gauge = JobMeasurement(row.device, Parameters.model_validate(floor.get(first).parameters), References("images", ()))
    assert gauge.position(Progress("prepare", 9, 10, None)).eta_seconds is None  # nothing is known of the others
    record = Registry.load(floor.settings).get("tiny-a")
    with floor.sessions() as session:
        gauge.foretell(Estimator.of(session, record, row.device), None, ())
    left = gauge.position(Progress("prepare", 9, 10, 0.1)).eta_seconds
    assert left is not None
    assert 0.5 < left < 20  # five more stages, as long as they took
    for stage in STAGES[:-1]:
        gauge.note(StageDone(stage, work=None))
    export = gauge.position(Progress("export", 9, 10, 0.1)).eta_seconds
    assert export is not None
    assert export <= left  # it moves with the clock, and here no time has passed


def test_a_trainer_that_counts_nothing_leaves_no_measurement(floor: Floor) -> None:
    job = floor.job()
    floor.supervise()
    assert floor.get(job).state == "SUCCEEDED"
    with floor.sessions() as session:
        assert session.scalars(select(Measurement)).all() == []


@pytest.mark.slow
def test_a_job_whose_measurement_is_nonsense_succeeds_all_the_same(floor: Floor) -> None:
    job = floor.job(suffix="babble")
    floor.supervise()
    assert floor.get(job).state == "SUCCEEDED"
    floor.job()
    floor.supervise()  # what was kept, if anything, does not stop the next one
    assert all(floor.get(each).state == "SUCCEEDED" for each in floor.job_ids())
