"""Jobs as clients meet them, above all when they ask twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from sqlalchemy import select, update

from core.database.tables import Audit, Idempotency, Job
from core.parameters.schedule import STAGES
from core.settings import Settings
from tests.api.server import Service, pictures, refused, serving

JOBS = "/v1/fine_tuning/jobs"
Create = Callable[..., httpx.Response]


def test_the_stock_client_creates_lists_and_cancels(client: openai.OpenAI, image_file: str) -> None:
    bat = {"preset": "subject", "trigger": "sks", "rank": 4}
    job = client.fine_tuning.jobs.create(
        model="tiny-images",
        training_file=image_file,
        suffix="my-cat",
        seed=7,
        metadata={"colour": "blue"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto", "batch_size": 2}}},
        extra_body={"bat": bat},
    )
    assert (job.status, job.seed, job.metadata, job.training_file) == ("queued", 7, {"colour": "blue"}, image_file)
    assert job.hyperparameters.batch_size == 2
    assert job.hyperparameters.n_epochs == "auto"
    assert job.model_extra["bat"]["request"] == bat
    assert client.fine_tuning.jobs.retrieve(job.id).to_dict() == job.to_dict()
    assert client.fine_tuning.jobs.list(limit=1).data[0].id == job.id
    assert [event.message for event in client.fine_tuning.jobs.list_events(job.id)] == ["The job is queued."]
    assert client.fine_tuning.jobs.checkpoints.list(job.id).data == []
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"


def test_more_metadata_filters_than_a_job_has_pairs_are_refused_and_not_put_to_the_database(http: httpx.Client) -> None:
    told = refused(http.get(JOBS, params={f"metadata[k{n}]": "v" for n in range(1150)}), 400, "invalid_filter")
    assert "At most 16 metadata filters" in told["message"]
    assert http.get(JOBS, params={f"metadata[k{n}]": "v" for n in range(16)}).json()["data"] == []
    told = refused(http.get(JOBS, params={f"metadata[{'k' * 65}]": "v"}), 400, "invalid_filter")
    assert "a key of 1 to 64 characters" in told["message"]


def test_an_order_that_changes_nothing_is_not_audited(
    service: Service, http: httpx.Client, create: Create, image_file: str
) -> None:
    job = create().json()["id"]
    for order in ("pause", "pause", "resume", "resume", "resume", "cancel", "cancel", "cancel"):
        assert http.post(f"{JOBS}/{job}/{order}").status_code == 200
    captions = {"items": [{"id": "item-1", "caption": "a red cat"}]}
    for _ in range(3):
        assert http.post(f"/v1/files/{image_file}/items", json=captions).status_code == 200
    with service.sessions() as session:
        noted = select(Audit.action).where(Audit.target.in_([job, image_file])).order_by(Audit.at)
        actions = list(session.scalars(noted))
    assert actions == ["file.create", "job.create", "job.pause", "job.resume", "job.cancel", "file.caption"]


def test_jobs_are_found_by_their_metadata(client: openai.OpenAI, create: Create) -> None:
    mine = [create(metadata={"batch": "find-me", "n": str(n)}).json()["id"] for n in range(3)]
    found = client.fine_tuning.jobs.list(metadata={"batch": "find-me"}, limit=2)
    assert [job.id for job in found] == mine[::-1]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"batch": "find-me", "n": "1"})] == [mine[1]]
    assert client.fine_tuning.jobs.list(metadata={"batch": "nobody"}).data == []


@pytest.mark.parametrize("name", ["a'b", "a b", "a.b", "$", "a[0]", "é", "%"])
def test_a_metadata_filter_is_never_part_of_the_query(http: httpx.Client, create: Create, name: str) -> None:
    job = create(metadata={name: "x"}).json()["id"]
    found = http.get(JOBS, params={f"metadata[{name}]": "x"}).json()["data"]
    assert job in [row["id"] for row in found]
    assert http.get(JOBS, params={f"metadata[{name}]": "' OR 1=1 --"}).json()["data"] == []


@pytest.mark.parametrize("name", ['a"b', "a\\", "a\u202eb"])
def test_a_metadata_filter_that_cannot_be_searched_for_is_400(http: httpx.Client, name: str) -> None:
    refused(http.get(JOBS, params={f"metadata[{name}]": "x"}), 400, "invalid_filter")


def test_an_unknown_backbone_is_400_and_the_known_ones_are_named(create: Create) -> None:
    error = refused(create(model="/etc/passwd"), 400, "model_not_found")
    assert error["param"] == "model"
    assert "tiny-images" in error["message"]


@pytest.mark.parametrize("file", ["file-unknown", "a\u00e9", "../x", "x" * 200])
def test_an_unknown_file_is_400(create: Create, file: str) -> None:
    assert refused(create(training_file=file), 400, "file_not_found")["param"] == "training_file"
    assert refused(create(validation_file=file), 400, "file_not_found")["param"] == "validation_file"
    assert refused(create(bat={"training_files": [file]}), 400, "file_not_found")["param"] == "bat.training_files"


def test_texts_do_not_fit_an_image_backbone(create: Create, text_file: str) -> None:
    assert refused(create(training_file=text_file), 400)["param"] == "training_file"


def test_a_file_named_twice_is_400(create: Create, image_file: str) -> None:
    refused(create(bat={"training_files": [image_file]}), 400, "repeated_file")


def test_a_request_that_contradicts_itself_is_400_before_it_is_queued(create: Create) -> None:
    assert refused(create(bat={"augment": False, "gamma": 0.5}), 400)["param"] == "bat.augment"
    assert refused(create(bat={"preset": "tone"}), 400)["param"] == "bat.preset"


def test_a_key_makes_a_repeated_call_harmless(create: Create) -> None:
    headers = {"Idempotency-Key": "one"}
    first, second = create(headers, suffix="a"), create(headers, suffix="a")
    assert first.status_code == second.status_code == 200
    assert first.json()["id"] == second.json()["id"]


def test_a_key_is_forgotten_after_a_day_or_with_its_job(service: Service, http: httpx.Client, create: Create) -> None:
    headers = {"Idempotency-Key": "nightly"}
    first = create(headers, suffix="nightly").json()["id"]
    with service.sessions.begin() as session:
        yesterday = Idempotency.created_at - 86_401
        session.execute(update(Idempotency).where(Idempotency.job_id == first).values(created_at=yesterday))
    second = create(headers, suffix="nightly").json()["id"]
    assert second != first
    assert create(headers, suffix="nightly").json()["id"] == second
    with service.sessions.begin() as session:
        session.execute(update(Job).where(Job.id == second).values(deleted_at=1.0))
    assert create(headers, suffix="nightly").json()["id"] not in (first, second)


def test_a_create_call_over_a_limit_is_not_repeated_by_the_client(tmp_path: Path) -> None:
    with serving(Settings(data=tmp_path, jobs_per_minute=1)) as service, service.http() as http:
        file = http.post("/v1/files", files={"file": ("a.zip", pictures())}, data={"purpose": "fine-tune"}).json()["id"]
        body = {"model": "tiny-images", "training_file": file}
        assert http.post(JOBS, json=body).status_code == 200
        answer = http.post(JOBS, json=body)
        refused(answer, 429, "rate_limit_exceeded")
        assert answer.headers["x-should-retry"] == "false"
        assert int(answer.headers["retry-after"]) >= 1
        stock = service.openai().with_options(max_retries=2)
        with pytest.raises(openai.RateLimitError):
            stock.fine_tuning.jobs.create(**body)
        assert len(http.get(JOBS).json()["data"]) == 1


def test_a_key_for_another_body_is_409_that_is_not_retried(create: Create) -> None:
    headers = {"Idempotency-Key": "two"}
    create(headers, suffix="a")
    answer = create(headers, suffix="b")
    refused(answer, 409, "idempotency_mismatch")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_a_key_that_is_none_is_400(create: Create, key: str) -> None:
    refused(create({"Idempotency-Key": key.encode()}), 400, "invalid_idempotency_key")


def test_a_key_is_one_accounts_own(service: Service, create: Create) -> None:
    headers = {"Idempotency-Key": "three"}
    mine = create(headers).json()["id"]
    with service.http("bob") as bob:
        file = bob.post("/v1/files", files={"file": ("a.zip", pictures())}, data={"purpose": "fine-tune"}).json()["id"]
        his = bob.post(JOBS, json={"model": "tiny-images", "training_file": file}, headers=headers)
    assert his.status_code == 200
    assert his.json()["id"] != mine


def test_fifty_calls_at_once_with_one_key_make_one_job(create: Create) -> None:
    barrier = threading.Barrier(50)

    def call(_: int) -> httpx.Response:
        barrier.wait()
        return create({"Idempotency-Key": "crowd"}, suffix="crowd")

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(call, range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_call_that_the_client_repeats_by_itself_makes_no_second_job(create: Create) -> None:
    first = create({"x-stainless-retry-count": "0"}, suffix="again").json()["id"]
    assert create({"x-stainless-retry-count": "1"}, suffix="again").json()["id"] == first
    assert create({"x-stainless-retry-count": "0"}, suffix="again").json()["id"] != first
    assert create({"x-stainless-retry-count": "1"}, suffix="other").json()["id"] != first


def test_a_broker_that_is_away_does_not_delay_the_answer(create: Create) -> None:
    began = time.monotonic()
    assert create().status_code == 200
    assert time.monotonic() - began < 15.0  # however slow the machine; left to itself Celery tries for minutes


def test_a_seed_is_drawn_where_none_is_given(create: Create) -> None:
    seeds = {create().json()["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_an_unknown_job_is_404(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.fine_tuning.jobs.retrieve("ftjob-unknown")
    assert caught.value.code == "job_not_found"


def test_a_job_that_waits_says_what_each_of_its_stages_will_probably_take(create: Create) -> None:
    bat = create().json()["bat"]
    assert [row["name"] for row in bat["stages"]] == list(STAGES)
    told = {row["name"]: (row["state"], row["seconds"], row["expected"] > 0) for row in bat["stages"]}
    assert told["train"] == ("waiting", 0.0, True)
    assert told["score"] == ("skipped", 0.0, False)  # the backbone has no pool
    assert (bat["overall"], bat["eta_seconds"]) == (0.0, None)
