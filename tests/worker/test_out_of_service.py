"""A worker whose GPU can't be used: it says so, takes no job, and comes back when somebody has mended it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from core.database.tables import Worker
from core.runtime import broker
from core.runtime.broker import make_app
from tests.conftest import until
from tests.worker import fast_trainer
from tests.worker.floor import Floor
from worker import presence
from worker.presence import Presence
from worker.protocol import Checked
from worker.trainer.probe import probe
from worker.trainer.sandbox import Cage


def with_gpu(floor: Floor) -> Path:
    """Give trainers a GPU; returns the file that breaks it, which is there."""
    broken = floor.settings.data / "broken"
    broken.touch()
    floor.settings.__dict__ |= {"device": "cuda", "trainer": f"{sys.executable} {fast_trainer.__file__} {broken}"}
    floor.settings.model_fields_set.add("device")
    return broken


def test_a_gpu_is_tried_by_a_trainer_that_is_gone_afterwards(floor: Floor) -> None:
    assert probe(floor.settings) == Checked()  # on the CPU there is nothing to try
    broken = with_gpu(floor)
    assert probe(floor.settings).code == "gpu_broken"
    broken.unlink()
    assert probe(floor.settings) == fast_trainer.GPU
    assert not list(floor.settings.data.glob("work/check-*"))


def test_workers_of_containers_with_one_data_folder_have_folders_of_their_own(floor: Floor) -> None:
    name = Cage.of_process(floor.settings, "check").work.name
    assert socket.gethostname() in name  # their processes have the same numbers
    assert str(os.getpid()) in name


def test_a_program_that_ends_without_a_word_is_no_gpu_to_compute_on(floor: Floor) -> None:
    floor.settings.__dict__ |= {"device": "cuda", "trainer": f"{sys.executable} -c pass"}
    found = probe(floor.settings)
    assert found.code == "gpu_check_failed"
    assert "kernel log" in (found.message or "")


def test_a_worker_comes_back_when_its_gpu_is_mended(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(presence, "TRY_AGAIN_SECONDS", -1.0)
    broken, seen = with_gpu(floor), Presence(floor.settings)
    seen.try_device()
    assert not floor.health.fit
    assert "takes no more jobs: The GPU fails at the simplest of computations." in caplog.text
    seen._report()
    with floor.sessions() as session:
        assert session.scalars(select(Worker.problem)).one()["code"] == "gpu_broken"
    broken.unlink()
    seen._try_again()
    until(lambda: floor.health.fit)
    seen._report()
    with floor.sessions() as session:
        assert session.scalars(select(Worker.problem)).one() is None


def test_a_worker_that_has_left_does_not_appear_again_from_a_report_that_was_under_way(floor: Floor) -> None:
    seen = Presence(floor.settings)
    seen.begin()
    until(lambda: len(problems(floor)) == 1)
    seen.end()
    seen._report()  # as the thread does that was just looking for what dead attempts have left
    assert problems(floor) == []
    assert list((floor.settings.data / "work").glob("worker@*")) == []


@pytest.mark.slow
def test_a_worker_out_of_service_takes_no_job_and_ends_when_it_is_told(plant: Floor) -> None:
    with_gpu(plant)
    with plant.worker() as process:
        plant.wait(lambda: any(problems(plant)))
        job_id = plant.job()
        assert broker.wake(plant.settings.queue, make_app(plant.settings))
        log = plant.settings.data / "celery.log"
        plant.wait(lambda: "takes no more jobs" in log.read_text())
        process.terminate()
        assert process.wait(60) == 0
    assert (plant.get(job_id).state, plant.get(job_id).attempt) == ("QUEUED", 0)


def problems(plant: Floor) -> list[object]:
    with plant.sessions() as session:
        return list(session.scalars(select(Worker.problem)))
