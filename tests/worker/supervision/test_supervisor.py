"""One job, worked on in this process with a real trainer process and a real database."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import text

from core.database.tables import Adapter, Artifact, Checkpoint, File, Metric, Usage
from core.erasure.scratch import sweep
from core.jobs import dispatch
from core.parameters.schedule import STAGES
from core.runtime.printed import output_log
from core.storage.interface import StoredObject
from core.storage.local import LocalStorage
from tests.worker import fast_trainer
from tests.worker.conftest import furnished
from tests.worker.floor import Floor, damaged, gone, pictures, repacked, settings
from tests.worker.supervision import wandering_trainer

SHOWN = [f"sample-{step}.png" for step in range(1, 11)]


def in_background(floor: Floor, stage: str) -> threading.Thread:
    # the trainer is started here: its life hangs on the thread that forks it
    floor.warm_trainer()
    thread = threading.Thread(target=floor.supervise, args=(floor.claim(),))
    thread.start()
    floor.wait_for_stage(stage)
    return thread


def stages_of(floor: Floor, attempt: int) -> list[str]:
    return [stage for stage, _, folder in floor.stages() if folder.endswith(f"-e{attempt}")]


def test_a_job_ends_with_one_adapter_and_its_files_in_order(floor: Floor) -> None:
    job_id = floor.job()
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.progress, job.outcome) == ("SUCCEEDED", 1.0, {"published_step": 5, "gamma": 0.25})
    [adapter] = floor.rows(Adapter, job_id)
    assert adapter.id == f"ft:tiny-a:acct-1::{job_id[6:14]}"
    assert (adapter.kind, adapter.published_step) == ("images", 5)
    assert [file.filename for file in sorted(floor.rows(File, job_id), key=lambda file: file.created_at)] == [
        "metrics.csv",
        "adapter-peft.zip",
        "card.json",
    ]
    assert {row.step: row.labels for row in floor.rows(Checkpoint, job_id)} == {5: ["published"], 10: ["last"]}
    assert len(floor.rows(Metric, job_id)) == 10 * len(STAGES)
    assert "Doing score: 0 of 10" in floor.events(job_id)
    assert list((floor.settings.data / "work").glob("*/ftjob*")) == []


@pytest.mark.slow
def test_what_a_result_points_to_can_be_read_back(floor: Floor) -> None:
    job_id = floor.job()
    floor.supervise()
    results = [artifact for artifact in floor.rows(Artifact, job_id) if artifact.kind == "result"]
    assert {artifact.format for artifact in results} == {None, "peft", "card"}
    for artifact in results:
        with floor.storage.open(artifact.storage_key) as file:
            assert file.read().decode() == artifact.name.removeprefix("export/")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prepare", "train", "export"])
def test_a_killed_trainer_costs_one_stage_and_no_more(floor: Floor, stage: str) -> None:
    job_id = floor.job(f"die-{stage}")
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.retry_count, job.crash_count) == ("QUEUED", 1, 0)
    time.sleep(floor.settings.retry_seconds)
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
    assert stages_of(floor, 1)[-1] == stage
    assert stages_of(floor, 2)[0] == stage


@pytest.mark.slow
def test_a_job_whose_stages_are_all_stored_needs_no_trainer(floor: Floor) -> None:
    job_id = floor.job()
    with floor.sessions.begin() as session:  # publishing fails once, after the last stage is stored
        session.execute(text("CREATE TRIGGER broken BEFORE INSERT ON adapter BEGIN SELECT RAISE(ABORT, 'broken'); END"))
    floor.supervise()
    assert floor.get(job_id).state == "QUEUED"
    with floor.sessions.begin() as session:
        session.execute(text("DROP TRIGGER broken"))
    time.sleep(floor.settings.retry_seconds)
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
    assert stages_of(floor, 2) == []


@pytest.mark.slow
def test_a_stage_whose_stored_file_is_damaged_is_done_again(floor: Floor) -> None:
    job_id = floor.job("pass-train")
    floor.supervise()
    [damaged] = [row for row in floor.rows(Artifact, job_id) if row.name == "score/score.json"]
    floor.storage.put(damaged.storage_key, b"something else")
    time.sleep(floor.settings.retry_seconds)
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
    assert stages_of(floor, 2) == ["score", "trial", "train", "export"]


@pytest.mark.slow
def test_a_cancelled_job_leaves_the_trainer_warm(floor: Floor) -> None:
    job_id = floor.job("slow-train")
    work = in_background(floor, "train")
    floor.order("cancel", job_id)
    work.join(60)
    assert floor.get(job_id).state == "CANCELLED"
    assert floor.rows(Adapter, job_id) == []
    assert floor.warm_trainer().pid == floor.wait_for_stage("train")


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_a_warm_trainer_is_handed_on_within_one_account_only(floor: Floor, *, shared: bool) -> None:
    floor.settings.__dict__["share_trainers"] = shared
    pids = []
    for account in ("acct-1", "acct-2", "acct-2"):
        job_id = floor.job(account=account)
        floor.supervise()
        assert floor.get(job_id).state == "SUCCEEDED"
        pids.append(floor.warm_trainer(account=account).pid)
    assert pids[1] == pids[2]
    assert (pids[0] == pids[1]) is shared


def test_a_work_folder_that_was_erased_and_made_again_has_another_trainer(floor: Floor) -> None:
    floor.settings.__dict__["share_trainers"] = False
    before = floor.warm_trainer().pid
    assert floor.warm_trainer().pid == before
    (floor.settings.data / "work/acct-1").rename(floor.settings.data / "gone")
    assert floor.warm_trainer().pid != before  # the old one would look for its jobs in the folder that is gone


@pytest.mark.slow
def test_a_trainer_that_does_not_stop_is_killed(floor: Floor) -> None:
    job_id = floor.job("hang-train")
    work = in_background(floor, "train")
    hanging = f"{job_id}-e1 train {fast_trainer.STEPS // 2}"  # before that step it would still stop as it is told
    floor.wait(lambda: hanging in fast_trainer.read(floor.settings.data / "pools/steps"))
    floor.order("cancel", job_id)
    work.join(60)
    assert floor.get(job_id).state == "CANCELLED"
    floor.wait(lambda: gone(floor.wait_for_stage("train")))


def test_a_draining_worker_gives_the_job_back_uncounted(floor: Floor) -> None:
    job_id = floor.job("slow-train")
    work = in_background(floor, "train")
    floor.drain = True
    work.join(60)
    job = floor.get(job_id)
    assert (job.state, job.crash_count, job.retry_count) == ("QUEUED", 0, 0)
    assert job.not_before <= job.heartbeat_at


@pytest.mark.slow
def test_a_stalled_trainer_shows_its_stacks_and_is_replaced(floor: Floor, caplog: pytest.LogCaptureFixture) -> None:
    floor.settings.__dict__["stall_seconds"] = 3.0
    job_id = floor.job("stall-score")
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.retry_count) == ("QUEUED", 1)
    assert gone(floor.wait_for_stage("score"))
    [dump] = [record for record in caplog.records if record.name == output_log.__name__ and "in act" in record.message]
    assert dump.job == job_id
    assert any("no progress" in message for message in floor.events(job_id))


def test_a_fault_of_the_job_ends_it_with_a_reason(floor: Floor) -> None:
    job_id = floor.job("quote-surrogate")
    floor.settings.registry_file.unlink()
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.error_code) == ("FAILED", "backbone_unavailable")
    assert job.error_message


@pytest.mark.slow
def test_a_job_that_diverges_is_tried_once_more_with_half_the_learning_rate(floor: Floor) -> None:
    job_id = floor.job("diverge-train", bat={"max_steps": 7, "learning_rate": 0.01})
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.parameters["learning_rate"], job.crash_count) == ("QUEUED", 0.005, 0)
    assert "half the learning rate, 0.005" in floor.events(job_id)[-1]
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.error_code, job.parameters["learning_rate"]) == ("FAILED", "diverged", 0.005)
    assert [row[0] for row in floor.stages()].count("surrogate") == 1  # what was finished still holds


def test_a_job_that_fits_in_no_size_fails_once_and_its_trainer_is_replaced(floor: Floor) -> None:
    job_id = floor.job("memory-surrogate", bat={"max_steps": 7, "batch_size": 6})
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.error_code, job.crash_count, job.retry_count) == ("FAILED", "out_of_memory", 0, 0)
    assert "larger GPU" in job.error_message
    assert gone(floor.wait_for_stage("surrogate"))


def steps_of(floor: Floor, stage: str) -> list[int]:
    """The steps that fast trainers have done in a stage, in the order of their doing."""
    lines = fast_trainer.read(floor.settings.data / "pools/steps")
    return [int(line.split()[2]) for line in lines if line.split()[1] == stage]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["surrogate", "train"])
def test_a_killed_trainer_goes_on_from_its_last_save(floor: Floor, stage: str) -> None:
    floor.job(f"die-{stage}")
    floor.supervise()
    saved = {row.name.partition("-")[2][:5] for row in floor.rows(Artifact, floor.job_ids()[0]) if row.kind == "save"}
    time.sleep(floor.settings.retry_seconds)
    floor.supervise()
    assert floor.get(floor.job_ids()[0]).state == "SUCCEEDED"
    done = steps_of(floor, stage)
    assert saved == {"00004"}
    assert done == [*range(1, 6), *range(5, 11)]
    assert not any(row.kind == "save" for row in floor.rows(Artifact, floor.job_ids()[0]))


def test_a_paused_job_keeps_what_it_has_and_goes_on_when_resumed(floor: Floor) -> None:
    job_id = floor.job("slow-train")
    work = in_background(floor, "train")
    floor.wait(lambda: any(floor.settings.data.glob(f"work/*/{job_id}-e1/saves/train-*/done.json")))
    floor.order("pause", job_id)
    work.join(60)
    job = floor.get(job_id)
    assert (job.state, job.crash_count, job.retry_count, job.lease_until) == ("PAUSED", 0, 0, None)
    assert {row.name.split("/")[1] for row in floor.rows(Artifact, job_id) if row.kind == "save"} == {"train-00001"}
    floor.order("resume", job_id)
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
    assert steps_of(floor, "train") == list(range(1, 11))


@pytest.mark.slow
def test_what_was_done_while_the_store_was_slow_is_kept_when_a_job_is_paused(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered, put = threading.Event(), LocalStorage.put

    def slow(store: LocalStorage, key: str, source: Path | bytes, *kind: str) -> StoredObject:
        if "/score/" in key:
            ordered.wait(60)
        return put(store, key, source, *kind)

    monkeypatch.setattr(LocalStorage, "put", slow)
    job_id = floor.job("slow-train")
    work = in_background(floor, "score")
    floor.wait(lambda: any(floor.settings.data.glob(f"work/*/{job_id}-e1/saves/train-*/done.json")))
    floor.order("pause", job_id)
    time.sleep(3 * floor.settings.heartbeat_seconds)  # the lease has heard of it
    ordered.set()
    work.join(60)
    kept = floor.rows(Artifact, job_id)
    assert {row.name.split("/")[1] for row in kept if row.kind == "save"} == {"train-00001"}
    assert {row.name.split("/")[0] for row in kept if row.kind == "stage"} == set(STAGES[:4])


@pytest.mark.slow
def test_a_job_that_may_spend_no_more_gpu_seconds_ends_and_says_so(floor: Floor) -> None:
    job_id = floor.job("slow-train", reserved_seconds=6.0)
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.error_code) == ("FAILED", "deadline_exceeded")
    assert "6 GPU seconds" in job.error_message
    spent = {row.stage: row.seconds for row in floor.rows(Usage, job_id)}
    assert 6.0 < sum(spent.values()) < 16.0
    assert spent["train"] > spent["prepare"] > 0


@pytest.mark.slow
def test_a_passing_fault_is_tried_again_and_the_history_says_so(floor: Floor) -> None:
    job_id = floor.job("pass-surrogate")
    floor.supervise()
    time.sleep(floor.settings.retry_seconds)
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
    assert any("hiccuped" in message for message in floor.events(job_id))
    assert "Going on after prepare: what earlier attempts finished is still good." in floor.events(job_id)


@pytest.mark.slow
def test_a_late_writer_is_fenced_and_changes_nothing(floor: Floor) -> None:
    job_id = floor.job("slow-train")
    work = in_background(floor, "train")
    with floor.sessions.begin() as session:  # the lease is taken away, as if this worker had been frozen
        session.execute(text("UPDATE job SET lease_until = 1"))
        assert dispatch.reap(session, max_crashes=3) == [job_id]
    second = floor.claim()
    before = (len(floor.events(job_id)), len(floor.rows(Metric, job_id)))
    work.join(60)
    job = floor.get(job_id)
    assert (job.state, job.attempt) == ("RUNNING", second.attempt)
    assert (len(floor.events(job_id)), len(floor.rows(Metric, job_id))) == before
    assert gone(floor.wait_for_stage("train"))


def test_a_deleted_training_file_ends_the_job(floor: Floor) -> None:
    job_id = floor.job()
    with floor.sessions.begin() as session:
        session.execute(text("UPDATE file SET deleted_at = 1"))
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.error_code, job.error_param) == ("FAILED", "invalid_training_file", "training_file")


def test_a_packed_file_that_holds_no_picture_ends_the_job_before_a_trainer_sees_it(floor: Floor) -> None:
    job_id = floor.job(packed=repacked(lambda png: b"no PNG at all, but stored like this", pictures()))
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.error_code, job.error_param) == ("FAILED", "invalid_training_file", "training_file")
    assert job.error_message == "1.png is damaged or cut short."
    assert floor.stages() == []


def test_pictures_reach_the_trainer_byte_for_byte_and_unopened(floor: Floor) -> None:
    packed = repacked(damaged, pictures())
    floor.job("slow-prepare", packed=packed)
    work = in_background(floor, "prepare")
    [folder] = [path for path in (floor.settings.data / "work").glob("*/ftjob*") if path.is_dir()]
    rows = [json.loads(line) for line in (folder / "references/items.jsonl").read_text().splitlines()]
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        stored = [archive.read(f"{number}.png") for number in range(4)]
    assert [(row["name"], row["file"]) for row in rows] == [
        (f"{number}.png", f"images/{number + 1:03d}.png") for number in range(4)
    ]
    assert [(folder / "references" / row["file"]).read_bytes() for row in rows] == stored
    floor.order("cancel", floor.job_ids()[0])
    work.join(10)


def test_a_backbone_that_is_gone_ends_the_job(floor: Floor) -> None:
    job_id = floor.job(backbone="tiny-c")
    floor.supervise()
    assert (floor.get(job_id).state, floor.get(job_id).error_code) == ("FAILED", "backbone_unavailable")


@pytest.mark.slow
def test_parameters_are_resolved_once_and_kept_over_attempts(floor: Floor) -> None:
    job_id = floor.job("pass-train")
    floor.supervise()
    first = floor.get(job_id).parameters
    assert first is not None
    assert (first["max_steps"], first["device_class"]) == (7, "cpu")
    with floor.sessions.begin() as session:
        session.execute(text("UPDATE job SET parameters = json_set(parameters, '$.rank', 3)"))
    time.sleep(floor.settings.retry_seconds)
    floor.supervise()
    assert floor.get(job_id).parameters["rank"] == 3


def test_one_trainer_serves_jobs_of_one_backbone_and_another_one_the_next(floor: Floor) -> None:
    for backbone in ("tiny-a", "tiny-a", "tiny-b"):
        floor.job(backbone=backbone)
        floor.supervise()
    pids = list(dict.fromkeys(pid for _, pid, _ in floor.stages()))
    assert len(pids) == 2
    assert gone(int(pids[0]))
    assert not gone(int(pids[1]))


@pytest.mark.slow
def test_an_idle_trainer_gives_up_its_memory(floor: Floor) -> None:
    floor.settings.__dict__["trainer_idle_seconds"] = 0.2
    floor.job()
    floor.supervise()
    pid = int(floor.stages()[0][1])
    floor.wait(lambda: gone(pid))


def test_the_trainer_inherits_no_secrets_and_is_offline(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALBATROSS_S3_SECRET_KEY", "canary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    pid = floor.warm_trainer().pid
    floor.wait(lambda: b"fast_trainer" in Path(f"/proc/{pid}/cmdline").read_bytes())
    seen = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"canary" not in seen
    assert b"HF_HUB_OFFLINE=1" in seen


def test_a_worker_that_cannot_renew_its_lease_stops_by_itself(floor: Floor) -> None:
    floor.settings.__dict__["lease_seconds"] = 12.0  # of which it works on for three quarters
    job_id = floor.job("slow-train")
    work = in_background(floor, "train")
    pid = floor.wait_for_stage("train")
    with floor.sessions.begin() as session:
        session.execute(text("ALTER TABLE job RENAME TO away"))
    floor.wait(lambda: gone(pid), floor.settings.lease_seconds + 1)
    with floor.sessions.begin() as session:
        session.execute(text("ALTER TABLE away RENAME TO job"))
    work.join(15)
    assert floor.get(job_id).state == "RUNNING"


def test_what_dead_attempts_left_on_the_disk_is_swept_and_nothing_else(floor: Floor) -> None:
    running, waiting = floor.job(), floor.job()
    assert floor.claim().id == running
    work = floor.settings.data / "work"
    mine = work / floor.get(running).account_id
    for name in (f"{running}-e1", f"{running}-e0", f"{waiting}-e1", "ftjob-unknown-e1"):
        (mine / name).mkdir(parents=True)
    (work / "drain-x").touch()
    sweep(floor.settings.data, floor.sessions)
    assert [path.name for path in mine.iterdir()] == [f"{running}-e1"]
    assert sorted(path.name for path in work.iterdir()) == [mine.name, "drain-x"]


@pytest.mark.slow
def test_a_folder_that_a_trainer_has_put_where_the_next_attempt_works_leads_nobody_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    program = f"{sys.executable} {wandering_trainer.__file__} {outside}"
    chosen = settings(tmp_path / "data").model_copy(update={"trainer": program, "share_trainers": False})
    for floor in furnished(chosen):
        job_id = floor.job()
        floor.supervise()
        assert floor.get(job_id).state == "QUEUED"
        time.sleep(floor.settings.retry_seconds)
        floor.supervise()
        assert list(outside.iterdir()) == []
        assert floor.get(job_id).state == "SUCCEEDED"
        assert list((floor.settings.data / "work").glob("*/ftjob*")) == []


def test_a_job_tells_its_way_through_all_stages_also_over_a_pause(floor: Floor) -> None:
    job_id = floor.job("slow-train")
    work = in_background(floor, "train")
    floor.wait(lambda: floor.get(job_id).stage == "train")
    floor.order("pause", job_id)
    work.join(60)
    first = floor.get(job_id).course
    assert first is not None
    done = [stage for stage, leg in first["stages"].items() if leg["state"]]
    assert done == ["prepare", "surrogate", "score", "trial"]
    assert first["stages"]["train"]["seconds"] > 0
    floor.order("resume", job_id)
    floor.supervise()
    job = floor.get(job_id)
    assert job.state == "SUCCEEDED"
    assert job.course is not None
    for stage in done:
        assert job.course["stages"][stage]["seconds"] == first["stages"][stage]["seconds"]
    assert job.course["stages"]["train"]["seconds"] >= first["stages"]["train"]["seconds"]
    assert job.course["overall"] >= first["overall"]
    assert all(leg["state"] for leg in job.course["stages"].values())
