"""What a job's row tells of its way through the stages."""

from __future__ import annotations

from api.serializers import progress
from core.database.tables import Job, JobState, Json
from core.jobs.standing import FINISHED
from core.parameters.schedule import STAGES


def job(state: JobState, stage: str | None = None, course: Json | None = None, **fields: object) -> Job:
    return Job(state=state, stage=stage, course=course, **fields)


def course(**states: str) -> Json:
    row: Json = {"planned": 10.0, "expected": 12.0, "seconds": 3.0}
    return {"stages": {name: {**row, "state": states.get(name)} for name in STAGES}, "overall": 0.31239}


def states(row: Job) -> list[str]:
    return [stage.state for stage in progress.stages(row)]


def test_a_running_job_is_in_one_stage() -> None:
    way = course(prepare="done", score="skipped")
    running = job(JobState.RUNNING, "surrogate", way)
    assert states(running) == ["done", "running", "skipped", "waiting", "waiting", "waiting"]
    assert progress.overall(running) == 0.3124
    told = progress.stages(running)[1]
    assert (told.name, told.seconds, told.expected) == ("surrogate", 3.0, 12.0)


def test_a_job_that_goes_on_is_in_the_stage_that_it_goes_on_with_while_it_loads_its_backbone() -> None:
    way = course(prepare="done", surrogate="done", score="skipped")
    assert states(job(JobState.RUNNING, "prepare", way))[3:] == ["running", "waiting", "waiting"]


def test_a_paused_or_ended_job_is_in_none() -> None:
    way = course(prepare="done")
    for state in (JobState.PAUSED, JobState.QUEUED, JobState.FAILED, JobState.CANCELLED):
        assert states(job(state, None, way)) == ["done", *["waiting"] * 5]


def test_a_job_that_succeeded_is_done_with_everything() -> None:
    succeeded = job(JobState.SUCCEEDED, None, course(prepare="done", trial="skipped"))
    assert states(succeeded) == ["done", "done", "done", "skipped", "done", "done"]
    assert progress.overall(succeeded) == 1.0


def test_a_job_of_an_older_version_shows_what_it_has_stored() -> None:
    old = job(JobState.RUNNING, "score", furthest_stage="surrogate", furthest_step=FINISHED)
    assert states(old) == ["done", "done", "running", "waiting", "waiting", "waiting"]
    assert [row.expected for row in progress.stages(old)] == [None] * 6
    assert progress.overall(old) == 0.0


def test_the_seconds_that_are_left_pass_between_two_heartbeats() -> None:
    running = job(JobState.RUNNING, "train", eta_seconds=20.0, heartbeat_at=100.0)
    assert progress.eta_seconds(running, 104.0) == 16.0
    assert progress.eta_seconds(running, 130.0) == 0.0
    assert progress.eta_seconds(job(JobState.PAUSED, eta_seconds=None), 130.0) is None
