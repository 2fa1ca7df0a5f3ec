"""What the trainer counts is what was foretold, and enough to foretell other jobs."""

from __future__ import annotations

import pytest

from core.estimates.costs import fitted, measured_amounts
from core.estimates.measurements import Measured
from core.estimates.workload import workload
from core.parameters.parameters import Parameters
from core.parameters.schedule import STAGES
from core.references.packing import read_folder
from tests.worker.stages.conftest import MakeJob
from worker.job_folder import JobFolder
from worker.protocol import Line, StageDone
from worker.stages import run
from worker.supervision.job_measurement import JobMeasurement


def gauged(folder: JobFolder, lines: list[Line]) -> Measured:
    gauge = JobMeasurement(
        "cpu: here", Parameters.model_validate(folder.spec()["parameters"]), read_folder(folder.references)
    )
    for line in lines:
        if isinstance(line, StageDone):
            gauge.note(line)
    found = gauge.measured("job", 3600.0, folder)
    assert found is not None
    return found


def compare(found: Measured) -> None:
    """The units of every kind of work, stage by stage."""
    foretold = workload(found.shape, found.data, found.steps, pool_encoded=False)
    counted = {(stage, kind): amount.calls * amount.size for stage, kind, amount, _ in measured_amounts(found)}
    told = {(stage, kind): each.calls * each.size for stage, kinds in foretold.items() for kind, each in kinds.items()}
    assert set(counted) <= set(told)
    for (stage, kind), units in counted.items():
        if kind == "sample":
            assert units <= told[stage, kind]
        else:
            wide = 0.2 if stage == "train" or kind == "gradient" else 0.1
            assert told[stage, kind] == pytest.approx(units, rel=wide), (stage, kind)


@pytest.mark.slow
def test_the_work_of_an_image_job_is_the_work_that_was_foretold(
    finished_image_job: tuple[JobFolder, list[Line]],
) -> None:
    found = gauged(*finished_image_job)
    compare(found)
    assert found.facts["candidates"] == 20
    assert found.bytes["sized"] > 0
    assert found.seconds["prepare"] >= found.work["prepare"]["seconds"]  # all that passed around the stages
    assert sum(found.seconds.values()) == pytest.approx(3600.0)


@pytest.mark.slow
def test_the_work_of_a_text_job_is_the_work_that_was_foretold(make_text_job: MakeJob) -> None:
    folder = make_text_job()
    found = gauged(folder, list(run(folder)))
    compare(found)
    assert len(found.data.lengths) == len(found.data.candidate_lengths) == 41
    assert found.characters > 0


@pytest.mark.slow
def test_every_stage_says_how_much_memory_it_took(finished_image_job: tuple[JobFolder, list[Line]]) -> None:
    found = gauged(*finished_image_job)
    assert all(found.work[stage]["memory"]["host"] > 100_000_000 for stage in STAGES)
    assert fitted([found]).peak_memory(workload(found.shape, found.data, found.steps), found.shape) > 100_000_000


@pytest.mark.slow
def test_a_job_that_went_on_elsewhere_is_not_measured(finished_image_job: tuple[JobFolder, list[Line]]) -> None:
    folder, lines = finished_image_job
    gauge = JobMeasurement(
        "cpu: here", Parameters.model_validate(folder.spec()["parameters"]), read_folder(folder.references)
    )
    for line in [line for line in lines if isinstance(line, StageDone)][2:]:
        gauge.note(line)
    assert gauge.measured("job", 60.0, folder) is None


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["precision", "checkpointing"])
def test_a_job_that_asks_for_other_memory_measures_nothing_for_others(
    finished_image_job: tuple[JobFolder, list[Line]], asked: str
) -> None:
    folder, lines = finished_image_job
    parameters = Parameters.model_validate(folder.spec()["parameters"])
    reasons = {name: why for name, why in parameters.reasons.items() if name != asked}
    gauge = JobMeasurement(
        "cpu: here", parameters.model_copy(update={"reasons": reasons}), read_folder(folder.references)
    )
    for line in lines:
        if isinstance(line, StageDone):
            gauge.note(line)
    assert gauge.measured("job", 60.0, folder) is None
