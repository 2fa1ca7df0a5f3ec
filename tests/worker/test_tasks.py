"""Real Celery workers, a real dispatcher, a real broker, both databases: what is left of a job when things die."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from core.database import invariants
from core.database.tables import Adapter, Artifact, Erasure, Worker
from core.erasure import request
from core.parameters.schedule import STAGES
from core.runtime import broker
from core.runtime.broker import make_app
from tests.worker.floor import Floor, gone, kill

ON_SQLITE = pytest.param("sqlite", marks=pytest.mark.slow)
on_each_database = pytest.mark.parametrize("plant", [ON_SQLITE, "postgresql"], indirect=True)


def workers(floor: Floor) -> list[Worker]:
    with floor.sessions() as session:
        return list(session.scalars(select(Worker)))


def children(pid: int) -> list[int]:
    """The pool's processes of a worker."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def another_child(plant: Floor, pid: int, lost: int) -> set[int]:
    """Wait until a worker has another child; what was seen counts, for a second look may miss it while one ends."""
    seen: set[int] = set()

    def replaced() -> bool:
        seen.update(set(children(pid)) - {lost})
        return bool(seen)

    plant.wait(replaced)
    return seen


@pytest.mark.slow
def test_a_wake_up_starts_a_job_at_once_and_one_serves_many(plant: Floor) -> None:
    with plant.worker():
        plant.wait(lambda: bool(workers(plant)))
        first, second = plant.job(), plant.job()
        assert broker.wake(plant.settings.queue, make_app(plant.settings))
        plant.wait_for(second, "SUCCEEDED")
        assert plant.get(first).state == "SUCCEEDED"
    with plant.sessions() as session:
        assert invariants.broken_invariants(session) == []


@on_each_database
def test_a_job_of_a_killed_worker_goes_on_elsewhere_from_its_last_stage(plant: Floor) -> None:
    job_id = plant.job("slow-train")
    with plant.dispatcher(), plant.worker() as doomed:
        trainer = plant.wait_for_stage("train")
        plant.wait(lambda: any(row.name == "score/done.json" for row in plant.rows(Artifact, job_id)))
        kill(doomed)
        with plant.worker():
            job = plant.wait_for(job_id, "SUCCEEDED")
    assert gone(trainer)  # it dies with the worker, or it would keep the GPU
    assert (job.crash_count, job.retry_count, job.attempt) == (0, 0, 2)  # it got further since
    assert any("crash 1 of at most 3" in message for message in plant.events(job_id))
    assert len(plant.rows(Adapter, job_id)) == 1
    assert [row[0] for row in plant.stages()].count("score") == 1
    with plant.sessions() as session:
        assert invariants.broken_invariants(session) == []


@pytest.mark.slow
@on_each_database
def test_a_worker_that_is_told_to_end_hands_its_job_back_and_leaves(plant: Floor, pytestconfig: pytest.Config) -> None:
    for number in range(1, 1 + pytestconfig.getoption("--drains")):
        job_id = plant.job("slow-train")
        with plant.dispatcher(), plant.worker() as process:
            plant.wait_for_stage("train", number, 60)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            assert time.monotonic() - began < 5
        job = plant.get(job_id)
        assert (job.state, job.crash_count, job.retry_count) == ("QUEUED", 0, 0)
        assert workers(plant) == []
        assert list((plant.settings.data / "work").glob("drain-*")) == []
        plant.order("cancel", job_id)


@pytest.mark.slow
def test_a_job_that_kills_its_workers_fails_and_others_go_on(plant: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALBATROSS_SANDBOX", "off")  # from within it a trainer can't reach its worker
    poison = plant.job("kill-surrogate")
    with plant.dispatcher(), plant.worker():
        job = plant.wait_for(poison, "FAILED", 40)
        assert (job.error_code, job.crash_count) == ("worker_crashed", 3)
        healthy = plant.job()
        plant.wait_for(healthy, "SUCCEEDED")


@pytest.mark.slow
def test_the_erasure_of_a_job_that_killed_its_workers_does_not_wait_for_their_next_job(
    plant: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALBATROSS_SANDBOX", "off")
    poison = plant.job("kill-surrogate")
    with plant.dispatcher(), plant.worker():
        plant.wait_for(poison, "FAILED", 90)
        with plant.sessions.begin() as session:
            number = request.request(session, "acct-1", "job", poison).id
        plant.wait(lambda: erased(plant, number), 90)


def erased(plant: Floor, number: str) -> bool:
    with plant.sessions() as session:
        return session.get_one(Erasure, number).done_at is not None


@pytest.mark.slow
def test_a_job_whose_workers_are_lost_ten_times_succeeds_if_it_got_further_each_time(plant: Floor) -> None:
    """The whole service, worker and dispatcher, is killed and started anew, as soon as something new is stored."""
    job_id, place = plant.job("crawl"), (-1, 0)
    for _ in range(10):
        with plant.dispatcher(), plant.worker():
            plant.wait(lambda before=place: furthest(plant, job_id) > before)  # type: ignore[misc]
            place = furthest(plant, job_id)
    with plant.dispatcher(), plant.worker():
        job = plant.wait_for(job_id, "SUCCEEDED", 300)
    assert job.attempt == 11
    assert len([message for message in plant.events(job_id) if "The worker was lost" in message]) == 10
    assert len(plant.rows(Adapter, job_id)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("plant", ["sqlite", "postgresql"], indirect=True)
def test_a_job_that_loses_a_worker_in_every_stage_succeeds(plant: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALBATROSS_SANDBOX", "off")
    job_id = plant.job("trip")  # a kill -9 of the supervisor in the middle of each stage, once
    with plant.dispatcher(), plant.worker():
        job = plant.wait_for(job_id, "SUCCEEDED", 500)
    assert job.attempt == 1 + len(STAGES)
    assert len(plant.rows(Adapter, job_id)) == 1


def furthest(plant: Floor, job_id: str) -> tuple[int, int]:
    job = plant.get(job_id)
    return (STAGES.index(job.furthest_stage), job.furthest_step) if job.furthest_stage else (-1, 0)


@pytest.mark.slow
def test_lost_and_doubled_wake_ups_do_no_harm(plant: Floor) -> None:
    job_id = plant.job()
    with plant.dispatcher(), plant.worker():
        for _ in range(5):
            broker.wake(plant.settings.queue, make_app(plant.settings))
        plant.wait_for(job_id, "SUCCEEDED")
    assert len(plant.rows(Adapter, job_id)) == 1
    assert len({folder for _, _, folder in plant.stages()}) == 1


@pytest.mark.slow
def test_a_child_that_is_slow_to_start_on_a_busy_machine_is_waited_for(plant: Floor) -> None:
    with plant.worker() as worker, plant.dispatcher():
        plant.wait_for(plant.job(), "SUCCEEDED")
        (lost,) = children(worker.pid)
        os.kill(lost, signal.SIGKILL)
        (slow,) = another_child(plant, worker.pid, lost)
        os.kill(slow, signal.SIGSTOP)
        time.sleep(5)  # a little longer than Celery waits by default
        os.kill(slow, signal.SIGCONT)
        plant.wait_for(plant.job(), "SUCCEEDED")
        plant.wait(lambda: children(worker.pid) == [slow])


@pytest.mark.slow
# not on SQLite: who is frozen inside a transaction there keeps its one write lock, and everybody waits
@pytest.mark.parametrize("plant", ["postgresql"], indirect=True)
def test_a_frozen_worker_that_wakes_up_late_changes_nothing(plant: Floor) -> None:
    job_id = plant.job("slow-train")
    with plant.dispatcher(), plant.worker() as frozen:
        plant.wait_for_stage("train")
        os.killpg(frozen.pid, signal.SIGSTOP)
        plant.wait_for(job_id, "QUEUED")
        with plant.worker():
            plant.wait_for(job_id, "SUCCEEDED")
            os.killpg(frozen.pid, signal.SIGCONT)
            time.sleep(1)
        kill(frozen)
    assert len(plant.rows(Adapter, job_id)) == 1
    assert plant.get(job_id).attempt == 2


@pytest.mark.parametrize("stage", ["prepare", "train"])
def test_a_running_job_is_cancelled_between_two_steps(plant: Floor, stage: str) -> None:
    job_id = plant.job(f"slow-{stage}")
    with plant.dispatcher(), plant.worker():
        plant.wait_for_stage(stage)
        plant.order("cancel", job_id)
        plant.wait_for(job_id, "CANCELLED")
    assert plant.rows(Adapter, job_id) == []
