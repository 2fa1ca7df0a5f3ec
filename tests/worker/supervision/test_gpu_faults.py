"""A GPU that fails: what becomes of the job, and what of the worker."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from core.database.engine import now
from core.database.tables import Worker
from tests.worker import fast_trainer
from tests.worker.floor import Floor
from worker.fitness import Fitness, Problem
from worker.protocol import Checked
from worker.supervision.gpu.health import GOES_ON, DeviceHealth, OutOfService


@pytest.fixture
def gpu_floor(floor: Floor) -> Floor:
    """Where trainers compute on a GPU, as they say, which is broken as long as there is the file `broken`."""
    broken = floor.settings.data / "broken"
    floor.settings.__dict__ |= {"device": "cuda", "trainer": f"{sys.executable} {fast_trainer.__file__} {broken}"}
    return floor


def broken(floor: Floor) -> Path:
    return floor.settings.data / "broken"


def attempts(floor: Floor, count: int) -> None:
    for _ in range(count):
        floor.supervise()
        time.sleep(floor.settings.retry_seconds * 2)


@pytest.mark.slow
def test_the_first_fault_costs_a_try_in_a_fresh_trainer(gpu_floor: Floor) -> None:
    job_id = gpu_floor.job("glitch-score")
    attempts(gpu_floor, 1)
    assert any("a fault of its program, or of the GPU. Trying again" in message for message in gpu_floor.events(job_id))
    gpu_floor.supervise()
    assert gpu_floor.get(job_id).state == "SUCCEEDED"
    first, second = (trainer for stage, trainer, _ in gpu_floor.stages() if stage == "score")
    assert first != second
    assert gpu_floor.health.fit


def test_a_worker_whose_gpu_fails_again_takes_itself_out_and_the_job_goes_on_elsewhere(gpu_floor: Floor) -> None:
    job_id = gpu_floor.job("fault-score")
    attempts(gpu_floor, 1)
    broken(gpu_floor).touch()
    attempts(gpu_floor, 1)
    job = gpu_floor.get(job_id)
    assert (job.state, job.crash_count, job.retry_count) == ("QUEUED", 0, 1)  # the first fault's try alone
    assert job.not_before <= job.heartbeat_at + gpu_floor.settings.retry_seconds
    assert gpu_floor.events(job_id)[-1] == GOES_ON
    problem = gpu_floor.health.fitness.problem()
    assert problem is not None
    assert (problem.code, problem.lasting) == ("gpu_broken", True)
    assert "simplest of computations" in problem.message


@pytest.mark.slow
def test_a_job_that_makes_a_good_gpu_fail_ends_and_takes_no_worker_with_it(gpu_floor: Floor) -> None:
    job_id = gpu_floor.job("fault-score")
    attempts(gpu_floor, 2)
    job = gpu_floor.get(job_id)
    assert (job.state, job.error_code) == ("FAILED", "gpu_fault")
    assert "on a GPU that passes its check" in job.error_message
    assert gpu_floor.health.fit


@pytest.mark.slow
def test_a_gpu_that_says_itself_that_it_fails_is_not_believed_to_be_well(gpu_floor: Floor) -> None:
    job_id = gpu_floor.job("ecc-score")
    attempts(gpu_floor, 2)
    assert (gpu_floor.get(job_id).state, gpu_floor.health.fit) == ("QUEUED", False)


@pytest.mark.slow
def test_a_gpu_that_fails_at_two_jobs_in_a_row_is_out_of_service(gpu_floor: Floor) -> None:
    first = gpu_floor.job("fault-score")
    attempts(gpu_floor, 1)
    gpu_floor.order("cancel", first)
    second = gpu_floor.job("fault-train")
    gpu_floor.supervise()
    assert (gpu_floor.get(second).state, gpu_floor.get(second).retry_count) == ("QUEUED", 0)
    problem = gpu_floor.health.fitness.problem()
    assert problem is not None
    assert "failed at two jobs in a row" in problem.message


@pytest.mark.slow
def test_a_job_that_is_computed_to_its_end_makes_up_for_a_fault(gpu_floor: Floor) -> None:
    gpu_floor.order("cancel", gpu_floor.job("fault-score"))
    for suffix in ("fault-score", None, "fault-score"):
        job_id = gpu_floor.job(suffix)
        gpu_floor.supervise()
        if suffix:
            assert gpu_floor.get(job_id).retry_count == 1
            gpu_floor.order("cancel", job_id)
    assert gpu_floor.health.fit


@pytest.mark.slow
def test_a_trainer_that_dies_on_a_gpu_that_is_broken_then_takes_the_worker_out(gpu_floor: Floor) -> None:
    job_id = gpu_floor.job("die-score")
    broken(gpu_floor).touch()
    gpu_floor.supervise()
    assert (gpu_floor.get(job_id).state, gpu_floor.get(job_id).retry_count) == ("QUEUED", 0)
    assert not gpu_floor.health.fit


@pytest.mark.parametrize(
    ("code", "lasting"), [("gpu_memory_taken", False), ("gpu_busy", False), ("gpu_check_hung", True)]
)
def test_a_gpu_that_others_hold_is_tried_again_and_one_that_fails_is_not(
    tmp_path: Path, code: str, lasting: bool
) -> None:
    health = DeviceHealth(Fitness(tmp_path / "unfit"), lambda: Checked(code, "What is wrong."))
    with pytest.raises(OutOfService):
        health.tried()
    assert health.fitness.problem() == Problem(code, "What is wrong.", lasting)


@pytest.mark.slow
def test_what_a_job_takes_of_a_gpu_is_shown_while_it_runs_and_told_at_its_end(gpu_floor: Floor) -> None:
    with gpu_floor.sessions.begin() as session:
        at = now(session)
        session.add(Worker(id="test", queue="q", host="h", pid=1, started_at=at, seen_at=at))
    job_id = gpu_floor.job("gpu-train")
    gpu_floor.supervise()
    with gpu_floor.sessions() as session:
        told = session.get_one(Worker, "test").gpu
    assert (told["allocated"], told["peak"], told["utilization"]) == (3 << 30, 5 << 30, 97)
    assert "The job took at most 5.00 of the GPU's 80.00 GiB, in the stage train." in gpu_floor.events(job_id)


def test_of_a_job_on_the_cpu_no_figures_of_a_gpu_are_told(floor: Floor) -> None:
    job_id = floor.job()
    floor.supervise()
    assert not any("GPU" in message for message in floor.events(job_id))
