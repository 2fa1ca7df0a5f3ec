"""Kept steps over the API: published by a job of its own, once each, and refused in words that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from sqlalchemy import select, update

from core.backbones.registry import Registry
from core.database.tables import Adapter, Artifact, Audit, Checkpoint, Job, JobState, Metric, new_id
from core.erasure import request as erasing
from core.jobs import control, leases
from core.jobs.leases import Claim
from core.parameters.request import BatRequest
from core.parameters.resolving import resolve
from core.parameters.schedule import STAGES
from core.parameters.summary import ReferenceSummary
from core.storage.factory import storage
from core.storage.keys import job_key
from tests.api.outcome import OUTCOME
from tests.api.server import Service, refused

JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture
def kept(service: Service, published: dict[str, str]) -> dict[str, str]:
    """A job that has published step 120, with all that its stages have stored, and kept step 300 too."""
    store, job_id = storage(service.settings), published["job"]
    record, summary = Registry.load(service.settings).get("tiny-images"), ReferenceSummary(kind="images", count=4)
    usual = resolve(BatRequest(), backbone=record, summary=summary, device_class="cpu", seed=1)
    with service.sessions.begin() as session:
        job = session.get_one(Job, job_id)
        job.parameters = usual.model_dump(mode="json")
        for name in [f"{stage}/done.json" for stage in STAGES[:-1]] + [
            "export/samples.json",
            "export/sample-00300-0.png",
        ]:
            stored = store.put(job_key(job.account_id, job_id, 1, name), name.encode())
            row = Artifact(job_id=job_id, name=name, attempt=1, kind="stage", storage_key=stored.key, created_at=1.0)
            row.sha256, row.bytes = stored.sha256, 0  # of no weight: the account's count is as it was
            session.add(row)
        card = (Artifact.job_id == job_id) & (Artifact.format == "card")
        session.execute(update(Artifact).where(card).values(name="export/card.json"))
        stored = store.put(job_key(job.account_id, job_id, 1, "step-300.safetensors"), b"weights of 300")
        other = Checkpoint(id=new_id("ftckpt_"), job_id=job_id, account_id=job.account_id, step=300, attempt=1)
        other.labels, other.metrics, other.created_at = ["last"], {}, 1.0
        other.storage_key, other.sha256, other.bytes = stored.key, stored.sha256, stored.bytes
        session.add(other)
        mine = select(Checkpoint.id).where(Checkpoint.job_id == job_id, Checkpoint.step == 120)
        return published | {"checkpoint": other.id, "published": session.scalar(mine) or ""}


@pytest.fixture
def publish(http: httpx.Client) -> Callable[[dict[str, str]], httpx.Response]:
    return lambda ids: http.post(f"{JOBS}/{ids['job']}/checkpoints/{ids['checkpoint']}/publish")


Publish = Callable[[dict[str, str]], httpx.Response]


def test_a_kept_step_is_published_by_a_new_job_that_has_all_but_its_last_stage(
    client: openai.OpenAI, publish: Publish, kept: dict[str, str]
) -> None:
    answer = publish(kept)
    assert answer.status_code == 200, answer.text
    job, source = client.fine_tuning.jobs.retrieve(answer.json()["id"]), client.fine_tuning.jobs.retrieve(kept["job"])
    assert (job.status, job.fine_tuned_model, job.model) == ("queued", None, source.model)
    same = ("training_file", "validation_file", "seed", "hyperparameters", "user_provided_suffix", "metadata")
    assert {name: getattr(job, name) for name in same} == {name: getattr(source, name) for name in same}
    bat = job.model_extra["bat"]
    named = {"step": 120, "rule": None, "reason": "The second valley."}
    assert bat["published_from"] == {"job": kept["job"], "step": 300, "named": named}
    assert (bat["published_step"], bat["stop_reason"], bat["turning_point_step"]) == (None, None, 120)
    assert (bat["resolved"], bat["valleys"]) == (source.model_extra["bat"]["resolved"], OUTCOME["valleys"])
    assert [row["state"] for row in bat["stages"]] == ["skipped"] * 5 + ["waiting"]
    assert [row["expected"] > 0 for row in bat["stages"]] == [False] * 5 + [True]
    assert source.model_extra["bat"]["published_from"] is None
    assert bat["training_versions"] == source.model_extra["bat"]["training_versions"]
    assert [row["file_id"] for row in bat["training_versions"]] == [job.training_file]


@pytest.mark.slow
def test_it_has_the_curves_from_the_start_and_what_is_stored_once_it_has_ended(
    http: httpx.Client, publish: Publish, kept: dict[str, str]
) -> None:
    job_id = publish(kept).json()["id"]
    curves = [http.get(f"{JOBS}/{one}/metrics").json()["data"] for one in (kept["job"], job_id)]
    assert curves[0] == curves[1] != []
    for what in ("samples", "influence"):
        answer = http.get(f"{JOBS}/{job_id}/{what}").json()
        assert (answer["data"], answer["ready"]) == ([], False)
    assert http.get(f"{JOBS}/{job_id}/checkpoints").json()["data"] == []


def test_a_repeated_call_is_answered_with_the_same_job(
    service: Service, http: httpx.Client, publish: Publish, kept: dict[str, str]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(publish, [kept] * 4))
    assert {answer.status_code for answer in answers} == {200}
    [job_id] = {answer.json()["id"] for answer in answers}
    with service.sessions() as session:
        assert session.scalars(select(Job.id).where(Job.published_from_job == kept["job"])).all() == [job_id]
        noted = select(Audit.target).where(Audit.action == "job.publish", Audit.target == job_id)
        assert session.scalars(noted).all() == [job_id]
    with service.sessions.begin() as session:
        control.cancel(session, session.get_one(Job, job_id))
    again = publish(kept).json()["id"]
    assert again != job_id
    http.delete(f"{JOBS}/{again}")
    assert publish(kept).json()["id"] not in (job_id, again)


@pytest.mark.slow
def test_one_whose_model_was_erased_is_published_anew(service: Service, publish: Publish, kept: dict[str, str]) -> None:
    job_id = publish(kept).json()["id"]
    with service.sessions.begin() as session:
        job = session.get_one(Job, job_id)
        job.priority = 9
        session.flush()
        claimed = leases.claim(session, queue=job.queue, worker_id="w", lease_seconds=600, account_job_limit=1000)
        assert claimed is not None
        adapter = Adapter(id=f"m-{job_id}", job_id=job_id, account_id=claimed.account_id, backbone="tiny-images")
        adapter.kind, adapter.attempt, adapter.published_step = "images", 1, 300
        assert leases.finish(session, Claim.of(claimed), adapter, dict(claimed.outcome or {}))
    assert publish(kept).json()["id"] == job_id
    with service.sessions.begin() as session:
        erasing.request(session, adapter.account_id, "model", f"m-{job_id}")
    assert publish(kept).json()["id"] != job_id


@pytest.mark.slow
def test_a_call_to_create_that_is_sent_again_is_not_answered_with_it(
    client: openai.OpenAI, publish: Publish, kept: dict[str, str]
) -> None:
    publish(kept)
    body = {"model": "tiny-images", "training_file": kept["file"], "suffix": "cat"}
    again = client.fine_tuning.jobs.create(**body, extra_headers={"x-stainless-retry-count": "1"})
    assert again.id == kept["job"]


@pytest.mark.slow
def test_what_is_not_there_is_404(service: Service, publish: Publish, kept: dict[str, str]) -> None:
    refused(publish(kept | {"job": "ftjob-unknown"}), 404, "job_not_found")
    for odd in ("ftckpt_unknown", "%00", "x" * 3000, "%ED%A0%80"):
        error = refused(publish(kept | {"checkpoint": odd}), 404, "checkpoint_not_found")
        assert error["param"] == "checkpoint_id"
    with service.http("bob") as others:
        path = f"{JOBS}/{kept['job']}/checkpoints/{kept['checkpoint']}/publish"
        refused(others.post(path), 404, "job_not_found")


@pytest.mark.slow
def test_the_published_step_is_not_published_again(publish: Publish, kept: dict[str, str]) -> None:
    error = refused(publish(kept | {"checkpoint": kept["published"]}), 409, "checkpoint_published")
    assert kept["model"] in error["message"]


@pytest.mark.slow
def test_a_job_that_has_not_ended_publishes_nothing_yet(
    create: Callable[..., httpx.Response], publish: Publish, kept: dict[str, str]
) -> None:
    refused(publish(kept | {"job": create().json()["id"]}), 409, "job_not_ended")


@pytest.mark.slow
def test_a_job_that_has_published_a_step_names_the_one_that_has_the_others(
    service: Service, publish: Publish, kept: dict[str, str]
) -> None:
    job_id = publish(kept).json()["id"]
    with service.sessions.begin() as session:
        control.cancel(session, session.get_one(Job, job_id))
    error = refused(publish(kept | {"job": job_id}), 409, "checkpoint_published")
    assert kept["job"] in error["message"]


@pytest.mark.slow
def test_a_job_whose_model_was_erased_has_no_steps_to_publish(
    http: httpx.Client, publish: Publish, kept: dict[str, str]
) -> None:
    http.delete(f"/v1/models/{kept['model']}")
    refused(publish(kept), 409, "source_gone")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["export/card.json", "trial/done.json"])
def test_a_job_that_has_not_all_it_has_stored_is_refused(
    service: Service, publish: Publish, kept: dict[str, str], name: str
) -> None:
    with service.sessions.begin() as session:
        mine = select(Artifact).where(Artifact.job_id == kept["job"], Artifact.name == name)
        session.delete(session.scalars(mine).one())
    error = refused(publish(kept), 409, "source_gone")
    assert "Create it again" in error["message"]


@pytest.mark.slow
def test_a_backbone_that_is_not_there_any_more_is_named(
    service: Service, publish: Publish, kept: dict[str, str]
) -> None:
    with service.sessions.begin() as session:
        session.get_one(Job, kept["job"]).backbone = "gone"
    error = refused(publish(kept), 409, "backbone_unavailable")
    assert "gone" in error["message"]


@pytest.mark.slow
def test_the_files_that_were_learned_from_may_go_meanwhile(
    http: httpx.Client, publish: Publish, kept: dict[str, str]
) -> None:
    assert publish(kept).status_code == 200
    assert http.delete(f"/v1/files/{kept['file']}").status_code == 200


@pytest.mark.slow
def test_it_counts_among_an_accounts_active_jobs(service: Service, publish: Publish, kept: dict[str, str]) -> None:
    job_id = publish(kept).json()["id"]
    with service.sessions() as session:
        job = session.get_one(Job, job_id)
        assert (job.state, job.reserved_seconds) == (JobState.QUEUED, service.settings.job_gpu_seconds)
        assert session.scalars(select(Metric.step).where(Metric.job_id == job_id)).all()
