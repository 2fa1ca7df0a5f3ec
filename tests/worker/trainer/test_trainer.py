"""The real trainer process: torch on one side of a pipe, none on the other."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from core.backbones.registry import Registry
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.database.tables import Adapter, Artifact, Job
from core.jobs.reports import LIVE
from core.parameters.parameters import Parameters
from core.parameters.schedule import GENERATED
from core.storage.factory import storage
from tests.worker.floor import Floor, damaged, pictures, repacked, settings
from tests.worker.stages.conftest import QUICK, image_record
from worker.stages.protection.samples import COUNT, SampleFile
from worker.supervision.pool_encoding import TELLING, PoolEncoding
from worker.trainer import sandbox

CANARY = "canary2c9e44x"


@pytest.fixture
def real_floor(tiny_diffusion_folder: Path, tmp_path: Path) -> Iterator[Floor]:
    """A floor with the trainer that users have, and a backbone of the true class, tiny."""
    chosen = settings(tmp_path / "data").model_copy(update={"trainer": None, "share_trainers": False})
    migrate(chosen.database)
    engine = connect(chosen.database)
    floor = Floor(chosen, sessions(engine), storage(chosen))
    record = image_record(tiny_diffusion_folder, tmp_path).model_dump(mode="json")
    chosen.registry_file.write_text(json.dumps({"version": 1, "backbones": {"tiny": record}}))
    yield floor
    floor.trainer.discard()
    engine.dispose()


def trainer_of(floor: Floor) -> int:
    record = json.loads(floor.settings.registry_file.read_text())["backbones"]["tiny"]
    return floor.warm_trainer(f"tiny {record['revision']}").pid


def long_captions() -> bytes:
    """Pictures with captions of which CLIP cuts off the greater part, and says so."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pictures())) as before, zipfile.ZipFile(buffer, "w") as archive:
        for name in before.namelist():
            longer = " ".join(f"{CANARY}{number}" for number in range(100)).encode()
            archive.writestr(name, longer if name.endswith(".txt") else before.read(name))
    return buffer.getvalue()


@contextmanager
def watching(floor: Floor, job_id: str) -> Iterator[list[tuple[Job, set[str]]]]:
    """Look at a job and the names of the samples that it shows, again and again until the block ends."""
    seen: list[tuple[Job, set[str]]] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            shown = {row.name for row in floor.rows(Artifact, job_id) if row.kind == LIVE}
            seen.append((floor.get(job_id), shown))
            time.sleep(0.02)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


@pytest.mark.slow
def test_a_real_job_shows_its_way_its_samples_and_what_is_known_while_it_runs(real_floor: Floor) -> None:
    floor = real_floor
    job_id = floor.job(backbone="tiny", bat=QUICK)
    with watching(floor, job_id) as seen:
        floor.supervise()
    assert any({"live/samples.json", "live/sample-00000-0.png"} <= shown for _, shown in seen)
    running = [job for job, _ in seen if job.state == "RUNNING" and job.course is not None]
    shares = [job.course["overall"] for job in running]
    assert shares == sorted(shares)
    assert 0 < shares[-1] < 1
    assert any(job.eta_seconds > 0 for job in running if job.eta_seconds is not None)
    known = [set(job.outcome or {}) for job in running]
    assert all(earlier <= later for earlier, later in itertools.pairwise(known))
    for name in ("references", "pool_size", "trial", "reasons"):
        assert any(name in names and "published_step" not in names for names in known), name
    ended = floor.get(job_id)
    assert ended.state == "SUCCEEDED"
    assert {leg["state"] for leg in ended.course["stages"].values()} == {"done"}
    assert all(leg["seconds"] > 0 for leg in ended.course["stages"].values())
    assert [row for row in floor.rows(Artifact, job_id) if row.kind == LIVE] == []


@pytest.mark.slow
def test_the_real_trainer_takes_jobs_to_their_end_and_keeps_its_backbone(
    real_floor: Floor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    floor, pids = real_floor, set()
    for packed in (None, long_captions()):
        job_id = floor.job(backbone="tiny", bat=QUICK, packed=packed)
        floor.supervise()
        job = floor.get(job_id)
        assert job.state == "SUCCEEDED", job.error_message
        assert job.outcome["stop_reason"] in floor.events(job_id)
        assert len(floor.rows(Adapter, job_id)) == 1
        names = {artifact.name for artifact in floor.rows(Artifact, job_id)}
        assert {"score/influence.json", "export/samples.json", "export/adapter-peft.zip"} <= names
        pids.add(trainer_of(floor))
    assert len(pids) == 1
    floor.trainer.discard()
    assert CANARY not in caplog.text
    counted = [record for record in caplog.records if "not repeated" in record.message]
    assert job_id in {getattr(record, "job", None) for record in counted}


@pytest.mark.skipif(not sandbox.works(), reason="bubblewrap does not work here")
@pytest.mark.slow
def test_a_pool_is_encoded_once_for_all_accounts_by_a_trainer_of_none(real_floor: Floor) -> None:
    floor = real_floor
    jobs = [floor.job(backbone="tiny", account=account, bat=QUICK) for account in ("acct-1", "acct-2")]
    for _ in jobs:
        floor.supervise()
        kept = {path.name: path.stat().st_mtime_ns for path in (floor.settings.data / "pools").iterdir()}
        assert sorted(name.split("-")[1] for name in kept) == ["candidate", "probe", "ready"]
    told = TELLING.format("tiny")
    assert [floor.get(job).state for job in jobs] == ["SUCCEEDED", "SUCCEEDED"]
    assert [told in floor.events(job) for job in jobs] == [True, False]
    again = floor.job(backbone="tiny", account="acct-2", bat=QUICK | {"sample_prompts": ["a canary"], "trigger": "zwx"})
    floor.supervise()
    assert told not in floor.events(again)  # what an owner writes is nothing that an encoding depends on
    assert kept == {path.name: path.stat().st_mtime_ns for path in (floor.settings.data / "pools").iterdir()}
    assert not list((floor.settings.data / "work").glob("encoding-*"))


@pytest.mark.skipif(not sandbox.works(), reason="bubblewrap does not work here")
@pytest.mark.slow
def test_a_backbones_own_samples_are_made_by_a_trainer_of_none_and_a_cancelled_drawing_is_gone_on_with(
    real_floor: Floor,
) -> None:
    unchosen = {"selected_count": "auto", "sample_ratio": "auto"}
    floor, bat = real_floor, QUICK | unchosen | {"protect": "distil", "protect_on": "own", "gamma": 0.5}
    pools = floor.settings.data / "pools"
    cancelled = floor.job(backbone="tiny", account="acct-1", bat=bat)
    worker = threading.Thread(target=partial(floor.supervise, floor.claim()))
    worker.start()
    floor.wait(lambda: bool(list(pools.glob("*.begun"))), seconds=240)
    floor.order("cancel", cancelled)
    worker.join(120)
    assert floor.get(cancelled).state == "CANCELLED"
    assert not list((floor.settings.data / "work").glob("encoding-*"))
    (begun,) = (SampleFile(path.with_suffix(".zip")).so_far() for path in pools.glob("*.begun"))
    assert 0 < len(begun.rows) < COUNT

    job = floor.job(backbone="tiny", account="acct-2", bat=bat)
    floor.supervise()
    assert floor.get(job).state == "SUCCEEDED"
    assert any("tiny draws 64 pictures of its own" in event for event in floor.events(job))
    record = Registry.load(floor.settings).get("tiny")
    parameters = Parameters.model_validate(floor.get(job).parameters)
    assert not PoolEncoding(record, parameters, datetime.now(UTC).date(), floor.settings).missing  # for whoever is next
    (whole,) = pools.glob("*.zip")
    made = SampleFile(whole).read()
    assert made is not None
    assert len(made.candidates) == COUNT
    assert [one.png for one in made.candidates[: len(begun.rows)]] == list(begun.pictures.values())


@pytest.mark.slow
def test_a_pool_that_a_backbone_makes_outlives_the_trainer_that_was_killed_while_it_drew(real_floor: Floor) -> None:
    floor, bat = real_floor, QUICK | {"pool": "generate", "protect": "replay", "gamma": 0.5}
    pools, before = floor.settings.data / "pools", children()
    job = floor.job(backbone="tiny", bat=bat)
    worker = threading.Thread(target=partial(floor.supervise, floor.claim()))
    worker.start()
    floor.wait(lambda: bool(list(pools.glob("*-generated-*.begun"))), seconds=240)
    for pid in children() - before:
        os.kill(pid, signal.SIGKILL)
    worker.join(120)
    assert (floor.get(job).state, floor.get(job).retry_count) == ("QUEUED", 1)
    (begun,) = (SampleFile(path.with_suffix(".zip")).so_far() for path in pools.glob("*.begun"))
    assert 0 < len(begun.rows) < GENERATED

    floor.wait(lambda: floor.get(job).not_before <= time.time(), seconds=240)
    floor.supervise()
    ended = floor.get(job)
    assert ended.state == "SUCCEEDED", ended.error_message
    assert ended.outcome["pool_size"] == GENERATED
    assert ended.outcome["selected"] == QUICK["selected_count"]
    (whole,) = pools.glob("*.zip")
    made = SampleFile(whole).read()
    assert made is not None
    assert [one.png for one in made.candidates[: len(begun.rows)]] == list(begun.pictures.values())


def children() -> set[int]:
    """The processes that this one has started and that still run."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


@pytest.mark.slow
@pytest.mark.parametrize("caption", ["none", "colours"])
def test_a_picture_that_only_the_trainer_finds_damaged_ends_the_job_and_not_the_trainer(
    real_floor: Floor, caption: str
) -> None:
    registered = json.loads(real_floor.settings.registry_file.read_text())
    registered["backbones"]["tiny"]["pool"] = None  # which another trainer would encode first, in place of a warm one
    real_floor.settings.registry_file.write_text(json.dumps(registered))
    packed = repacked(damaged, pictures(captions=caption == "none"))
    told = {**QUICK, "caption": caption, "protect": "none", "selected_count": "auto"}
    job_id = real_floor.job(backbone="tiny", bat=told, packed=packed)
    before = trainer_of(real_floor)
    real_floor.supervise()
    job = real_floor.get(job_id)
    assert (job.state, job.error_code, job.error_param) == ("FAILED", "invalid_training_file", "training_file")
    assert job.error_message == "1.png is damaged or cut short."
    assert (job.retry_count, job.crash_count, job.attempt) == (0, 0, 1)
    assert trainer_of(real_floor) == before
