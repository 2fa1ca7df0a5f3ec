"""Another kept step of a job that has ended, published by a job of its own with a real trainer process."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import select, text

from core.accounts import stored_bytes
from core.accounts.quotas import locked
from core.database.invariants import broken_invariants
from core.database.tables import Adapter, Artifact, Checkpoint, File, Job, Measurement, Metric
from core.database.tables.jobs import BORROWED
from core.erasure import request
from core.erasure.eraser import Eraser
from core.jobs import publishing
from core.keys.keyring import Keyring
from core.parameters.schedule import STAGES
from core.storage.keys import job_prefix
from tests.worker.floor import Floor

pytestmark = pytest.mark.slow
LAST = 10  # of the kept steps of the fast trainer, whose first, 5, is published


def trained(floor: Floor, suffix: str | None = None) -> str:
    job_id = floor.job(suffix)
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
    return job_id


def publish(floor: Floor, source: str, suffix: str | None = None) -> str:
    """Queue the job that publishes the last kept step, as the API does; its suffix tells the trainer what to do."""
    [kept] = [row for row in floor.rows(Checkpoint, source) if row.step == LAST]
    with floor.sessions.begin() as session:
        job = session.get_one(Job, source)
        account, checkpoint = locked(session, job.account_id), publishing.publishable(session, job, kept.id)
        made = publishing.create(session, job, checkpoint, floor.settings, account=account)
        made.suffix = suffix
        return made.id


def content(floor: Floor, artifact: Artifact | Checkpoint) -> bytes:
    with floor.storage.open(artifact.storage_key) as file:
        return file.read()


def erase(floor: Floor, kind: str, target: str) -> tuple[str, bool]:
    """Ask for an erasure; returns its id, and whether it is done."""
    with floor.sessions.begin() as session:
        number = request.request(session, "acct-1", kind, target).id
    return number, advance(floor, number)


def advance(floor: Floor, number: str) -> bool:
    eraser = Eraser(floor.sessions, floor.storage, Keyring(("one-secret" * 4,)), floor.settings.data)
    return eraser.advance(number)


def all_is_well(floor: Floor) -> bool:
    with floor.sessions() as session:
        return broken_invariants(session) == []


def test_a_kept_step_becomes_a_model_of_its_own_and_nothing_is_trained(floor: Floor) -> None:
    source = trained(floor)
    before = {artifact.name: content(floor, artifact) for artifact in floor.rows(Artifact, source)}
    job_id = publish(floor, source)
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.outcome["published_step"], job.attempt, job.trained_tokens) == ("SUCCEEDED", LAST, 1, 0)
    assert [stage for stage, _, folder in floor.stages() if job_id in folder] == ["export"]
    [kept] = floor.rows(Checkpoint, job_id)
    assert (kept.step, content(floor, kept)) == (LAST, b"weights of 10")
    [adapter] = floor.rows(Adapter, job_id)
    assert (adapter.id, adapter.published_step) == (f"ft:tiny-a:acct-1::{job_id[6:14]}", LAST)
    assert {artifact.name: content(floor, artifact) for artifact in floor.rows(Artifact, source)} == before
    assert [row.id for row in floor.rows(Adapter, source)] == [f"ft:tiny-a:acct-1::{source[6:14]}"]


def test_what_the_new_job_offers_lies_under_its_own_keys_alone(floor: Floor) -> None:
    source = trained(floor)
    job_id = publish(floor, source)
    floor.supervise()
    rows = [*floor.rows(Artifact, job_id), *floor.rows(Checkpoint, job_id), *floor.rows(File, job_id)]
    assert {row.storage_key.startswith(job_prefix("acct-1", job_id)) for row in rows} == {True}
    curves = [(row.stage, row.step, row.data) for row in floor.rows(Metric, source)]
    own = [(row.stage, row.step, row.data) for row in floor.rows(Metric, job_id)]
    assert [row for row in own if row[0] != "export"] == [row for row in curves if row[0] != "export"]


def test_what_is_borrowed_is_counted_once_and_given_back(floor: Floor) -> None:
    source = trained(floor)
    with floor.sessions() as session:
        before = stored_bytes.of_job(session, source)
    job_id = publish(floor, source)
    borrowed = [row for row in floor.rows(Artifact, job_id) if row.kind == BORROWED]
    assert {row.name.partition("/")[0] for row in borrowed} == {*STAGES[:-1], "source"}
    assert all_is_well(floor)
    floor.supervise()
    assert [row for row in floor.rows(Artifact, job_id) if row.kind == BORROWED] == []
    assert all_is_well(floor)
    own = sum(row.bytes for row in floor.rows(Artifact, job_id))
    with floor.sessions() as session:
        assert (stored_bytes.of_job(session, source), stored_bytes.of_job(session, job_id)) == (before, own)


def test_a_cancelled_one_gives_back_what_it_has_borrowed(floor: Floor) -> None:
    source = trained(floor)
    job_id = publish(floor, source)
    floor.order("cancel", job_id)
    assert floor.get(job_id).state == "CANCELLED"
    assert floor.rows(Artifact, job_id) == []
    assert all_is_well(floor)


def test_one_that_runs_is_cancelled_as_any_job(floor: Floor) -> None:
    source = trained(floor)
    job_id = publish(floor, source, "slow-export")
    floor.warm_trainer()
    work = threading.Thread(target=floor.supervise, args=(floor.claim(),))
    work.start()
    floor.wait_for_stage("export", 2)
    floor.order("cancel", job_id)
    work.join(60)
    assert floor.get(job_id).state == "CANCELLED"
    assert floor.rows(Adapter, job_id) == []
    assert {row.kind for row in floor.rows(Artifact, job_id)} <= {"save"}
    assert all_is_well(floor)


def test_one_whose_trainer_is_killed_goes_on_with_what_is_borrowed(floor: Floor) -> None:
    source = trained(floor)
    job_id = publish(floor, source, "die-export")
    floor.supervise()
    assert floor.get(job_id).state == "QUEUED"
    time.sleep(floor.settings.retry_seconds)
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
    assert [stage for stage, _, folder in floor.stages() if job_id in folder] == ["export"] * 2


@pytest.mark.parametrize("kind", ["job", "model"])
def test_each_is_erased_without_the_other(floor: Floor, kind: str) -> None:
    source = trained(floor)
    first, second = publish(floor, source), publish(floor, source)
    floor.supervise()
    floor.supervise()
    models = {job_id: floor.rows(Adapter, job_id)[0].id for job_id in (source, first, second)}
    ids = {job_id: job_id if kind == "job" else models[job_id] for job_id in models}
    assert erase(floor, kind, ids[first])[1]
    assert [content(floor, kept) for kept in floor.rows(Checkpoint, source)] == [b"weights of 5", b"weights of 10"]
    assert erase(floor, kind, ids[source])[1]
    assert [content(floor, kept) for kept in floor.rows(Checkpoint, second)] == [b"weights of 10"]
    assert floor.storage.keys(job_prefix("acct-1", source)) == floor.storage.keys(job_prefix("acct-1", first)) == []
    for artifact in floor.rows(Artifact, second):
        assert content(floor, artifact)
    assert all_is_well(floor)


@pytest.mark.parametrize("kind", ["job", "model"])
def test_a_source_that_is_erased_first_ends_the_job_with_a_plain_code(floor: Floor, kind: str) -> None:
    source = trained(floor)
    job_id = publish(floor, source)
    assert erase(floor, kind, source if kind == "job" else floor.rows(Adapter, source)[0].id)[1]
    floor.supervise()
    job = floor.get(job_id)
    assert (job.state, job.error_code) == ("FAILED", "source_gone")
    assert source in job.error_message
    assert floor.rows(Adapter, job_id) == floor.rows(Artifact, job_id) == []
    assert all_is_well(floor)


def test_a_source_whose_stored_files_are_damaged_ends_the_job_too(floor: Floor) -> None:
    source = trained(floor)
    job_id = publish(floor, source)
    [damaged] = [row for row in floor.rows(Artifact, source) if row.name == "train/snapshots/step-00010.safetensors"]
    floor.storage.put(damaged.storage_key, b"something else")
    floor.supervise()
    assert (floor.get(job_id).state, floor.get(job_id).error_code) == ("FAILED", "source_gone")


def test_a_source_that_is_erased_before_the_job_has_ended_ends_it_at_its_last_step(floor: Floor) -> None:
    source = trained(floor)
    job_id = publish(floor, source)
    stored = f"NEW.name = 'export/done.json' BEGIN UPDATE job SET deleted_at = 1 WHERE id = '{source}'; END"
    with floor.sessions.begin() as session:
        session.execute(text(f"CREATE TRIGGER erased AFTER INSERT ON artifact WHEN {stored}"))
    floor.supervise()
    assert (floor.get(job_id).state, floor.get(job_id).error_code) == ("FAILED", "source_gone")
    assert [stage for stage, _, folder in floor.stages() if job_id in folder] == ["export"]
    assert floor.rows(Adapter, job_id) == []


@pytest.mark.parametrize("kind", ["job", "model"])
def test_an_erasure_waits_for_a_worker_that_has_the_files_of_the_source(floor: Floor, kind: str) -> None:
    source = trained(floor)
    job_id = publish(floor, source)
    claimed = floor.claim()
    number, done = erase(floor, kind, source if kind == "job" else floor.rows(Adapter, source)[0].id)
    assert not done
    floor.supervise(claimed)
    assert floor.get(job_id).error_code == "source_gone"
    assert advance(floor, number)


def test_a_file_that_was_learned_from_can_go_while_the_step_is_published(floor: Floor) -> None:
    source = trained(floor)
    job_id = publish(floor, source)
    [file_id] = floor.get(source).training_files
    assert erase(floor, "file", file_id)[1]
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"


def test_estimates_learn_nothing_of_a_job_that_trains_nothing(floor: Floor) -> None:
    source = trained(floor, "tell")
    job_id = publish(floor, source, "tell")
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
    with floor.sessions() as session:
        assert len(session.scalars(select(Measurement)).all()) == 1
    stages = (floor.get(job_id).course or {})["stages"]
    assert [row["state"] for row in stages.values()] == ["skipped"] * 5 + ["done"]
    assert [row["planned"] > 0 for row in stages.values()] == [False] * 5 + [True]
