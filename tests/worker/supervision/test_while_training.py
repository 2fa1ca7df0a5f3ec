"""What a job shows and keeps while it trains: stored at once, and at its end only what is there for good."""

from __future__ import annotations

import hashlib
import json

import pytest
from sqlalchemy import delete

from core.accounts import stored_bytes
from core.database import invariants
from core.database.tables import Artifact, Checkpoint, JobEvent
from core.storage.keys import job_prefix
from tests.worker.floor import Floor
from tests.worker.supervision.test_supervisor import in_background

SHOWN = [f"sample-{step}.png" for step in range(1, 11)]


def shown(floor: Floor, job_id: str) -> dict[str, Artifact]:
    return {row.name: row for row in floor.rows(Artifact, job_id) if row.kind == "live"}


def half_shown(floor: Floor, order: str) -> str:
    """A job that was ordered to stop when half of its samples and kept steps were stored."""
    job_id = floor.job("show-train")
    work = in_background(floor, "train")
    floor.wait(lambda: "live/sample-5.png" in shown(floor, job_id) and len(floor.rows(Checkpoint, job_id)) == 2)
    floor.order(order, job_id)
    work.join(60)
    return job_id


def listed(floor: Floor, job_id: str) -> dict[int, Checkpoint]:
    """The kept steps of a job, every one of whose bytes are there, and counted once."""
    rows = {row.step: row for row in floor.rows(Checkpoint, job_id)}
    files = [row.storage_key for row in floor.rows(Artifact, job_id)]
    for row in rows.values():
        content = floor.storage.read(row.storage_key)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (row.sha256, row.bytes)
        assert files.count(row.storage_key) == 1
    with floor.sessions() as session:
        assert invariants.broken_invariants(session) == []
    return rows


def told_of_kept(floor: Floor, job_id: str) -> list[tuple[str, int]]:
    events = [event.data for event in floor.rows(JobEvent, job_id)]
    return [(data["checkpoint"], data["step"]) for data in events if data and data["code"] == "checkpoint_kept"]


def test_samples_and_kept_steps_are_stored_while_a_job_trains_and_stay_where_it_is_cancelled(floor: Floor) -> None:
    job_id = half_shown(floor, "cancel")
    assert floor.get(job_id).state == "CANCELLED"
    rows = shown(floor, job_id)
    assert rows.keys() == {f"live/{name}" for name in ("samples.json", "done.json", *SHOWN[:5])}
    told = json.loads(floor.storage.read(rows["live/samples.json"].storage_key))
    assert [row["step"] for row in told] == [1, 2, 3, 4, 5]
    for name, row in rows.items():
        assert hashlib.sha256(floor.storage.read(row.storage_key)).hexdigest() == row.sha256, name
    kept = listed(floor, job_id)
    assert {step: row.metrics["train_loss"] for step, row in kept.items()} == {3: 1 / 3, 5: 1 / 5}
    assert [row.labels for row in kept.values()] == [[], []]
    assert told_of_kept(floor, job_id) == [(kept[step].id, step) for step in (3, 5)]


@pytest.mark.slow
def test_a_job_that_goes_on_has_what_it_has_shown_and_at_its_end_only_the_whole_set(floor: Floor) -> None:
    job_id = half_shown(floor, "pause")
    before = listed(floor, job_id)[5]
    floor.order("resume", job_id)
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
    assert shown(floor, job_id) == {}
    keys = [key for key in floor.storage.keys(job_prefix("acct-1", job_id)) if key.endswith(".png")]
    sent = {tuple(key.rpartition("-")[2] for key in keys if f"/e{attempt}/" in key) for attempt in (1, 2)}
    assert (
        {tuple(sorted(names)) for names in sent}
        == {  # nothing is sent twice
            tuple(sorted(name.partition("-")[2] for name in half)) for half in (SHOWN[:5], SHOWN[5:])
        }
    )
    kept = listed(floor, job_id)
    assert {step: row.labels for step, row in kept.items()} == {5: ["published"], 10: ["last"]}
    assert (kept[5].id, kept[5].created_at) == (before.id, before.created_at)
    assert [step for _, step in told_of_kept(floor, job_id)] == [3, 5, 10]
    keys = [key for key in floor.storage.keys(job_prefix("acct-1", job_id)) if "/step-" in key]
    assert sorted(keys) == sorted(row.storage_key for row in kept.values())  # each once, and none that was dropped


@pytest.mark.slow
def test_what_a_run_has_kept_goes_with_it_where_training_begins_anew(floor: Floor) -> None:
    job_id = half_shown(floor, "pause")
    with floor.sessions.begin() as session:  # so that the next attempt has no save to go on from
        session.execute(delete(Artifact).where(Artifact.job_id == job_id, Artifact.kind == "save"))
        stored_bytes.recount(session, "acct-1")
    floor.order("resume", job_id)
    floor.supervise()
    assert {5, 10} == listed(floor, job_id).keys()
    assert [step for _, step in told_of_kept(floor, job_id)] == [3, 5, 3, 5, 10]
