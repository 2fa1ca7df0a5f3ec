"""Clients retry by themselves: a lost answer makes no second job, a lost call loses none, and a 409 is final."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from tests.api.server import chats
from tests.clients.plant import GENERATIONS, HERE, Plant, planted
from tests.clients.proxy import JOBS, Proxy, Trouble, proxied
from tests.conftest import PostgreSQL

MOST_RETRIES = 10
OLDER = [pytest.param(f"python-{number}", marks=pytest.mark.slow) for number in GENERATIONS if number != "3"]
CLIENTS = [*OLDER, "python-3", "node"]
LOSSES = [
    (Trouble.LOST_ANSWER, Trouble.BAD_GATEWAY),
    (Trouble.HALF_A_CALL, Trouble.LOST_ANSWER),
    (Trouble.LATE_CALL, Trouble.HALF_A_CALL),
    (Trouble.LATE_CALL, Trouble.LATE_CALL),
    (Trouble.BAD_GATEWAY, Trouble.LATE_CALL),
]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], scope="module")
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """The service on each database."""
    server: PostgreSQL | None = None if request.param == "sqlite" else request.getfixturevalue("postgresql")
    with planted(tmp_path_factory.mktemp("retries"), server and server.fresh(), works=False) as plant:
        yield plant


@pytest.fixture
def proxy(both: Plant) -> Iterator[Proxy]:
    with proxied(both.service.address) as proxy:
        yield proxy


@pytest.fixture
def http(both: Plant) -> Iterator[httpx.Client]:
    with both.service.http() as client:
        yield client


@pytest.fixture
def file_id(http: httpx.Client) -> str:
    given = {"files": {"file": ("a.jsonl", chats())}, "data": {"purpose": "fine-tune"}}
    return str(http.post("/v1/files", **given).json()["id"])


def create(plant: Plant, client: str, address: str, file_id: str, retries: int = 2) -> str:
    """Create a job past the proxy with one of the clients; returns its id."""
    if client == "node":
        return plant.node("create.mjs", file_id, retries, address=address).strip()
    return plant.python(client[-1], HERE / "create.py", file_id, retries, address=address).strip()


def jobs_of(http: httpx.Client, file_id: str) -> list[str]:
    rows = http.get(JOBS, params={"limit": 1000}).json()["data"]
    return [row["id"] for row in rows if row["training_file"] == file_id]


@pytest.mark.slow
@pytest.mark.parametrize("both", ["sqlite"], indirect=True)  # what differs here are the clients
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("loss", [Trouble.LOST_ANSWER, Trouble.LATE_CALL])
def test_whatever_is_lost_on_the_way_there_is_one_job(
    both: Plant, proxy: Proxy, http: httpx.Client, file_id: str, client: str, loss: Trouble
) -> None:
    proxy.plan = [loss]
    job_id = create(both, client, proxy.address, file_id)
    assert [headers["x-stainless-retry-count"] for headers in map(lowered, proxy.sent)] == ["0", "1"]
    assert [answer.json()["id"] for answer in proxy.late] == ([job_id] if loss is Trouble.LATE_CALL else [])
    assert jobs_of(http, file_id) == [job_id]


@pytest.mark.long
@pytest.mark.parametrize("losses", LOSSES, ids=" then ".join)
def test_two_losses_in_a_row_make_one_job(
    both: Plant, proxy: Proxy, http: httpx.Client, file_id: str, losses: tuple[Trouble, Trouble]
) -> None:
    proxy.plan = list(losses)
    with openai.OpenAI(base_url=f"{proxy.address}/v1", api_key=both.service.key(), max_retries=2) as client:
        job_id = client.fine_tuning.jobs.create(model="tiny-texts", training_file=file_id).id
    assert len(proxy.sent) == 3
    assert {answer.json()["id"] for answer in proxy.late} <= {job_id}
    assert jobs_of(http, file_id) == [job_id]


def test_a_client_that_does_not_retry_has_not_lost_its_job(
    both: Plant, proxy: Proxy, http: httpx.Client, file_id: str
) -> None:
    proxy.plan = [Trouble.LOST_ANSWER]
    with openai.OpenAI(base_url=f"{proxy.address}/v1", api_key=both.service.key(), max_retries=0) as client:
        with pytest.raises(openai.APIConnectionError):
            client.fine_tuning.jobs.create(model="tiny-texts", training_file=file_id, metadata={"try": file_id})
        [job] = client.fine_tuning.jobs.list(metadata={"try": file_id})
    assert jobs_of(http, file_id) == [job.id]


def test_a_call_that_was_overtaken_explains_one_call_and_not_the_next(
    both: Plant, proxy: Proxy, http: httpx.Client, file_id: str
) -> None:
    proxy.plan = [Trouble.LATE_CALL]
    with openai.OpenAI(base_url=f"{proxy.address}/v1", api_key=both.service.key(), max_retries=2) as client:
        first = client.fine_tuning.jobs.create(model="tiny-texts", training_file=file_id).id
        second = client.fine_tuning.jobs.create(model="tiny-texts", training_file=file_id).id
    assert jobs_of(http, file_id) == [second, first]


def test_a_409_is_answered_once_and_makes_no_job(both: Plant, proxy: Proxy, http: httpx.Client, file_id: str) -> None:
    key = {"Idempotency-Key": f"key of {file_id}"}
    with openai.OpenAI(base_url=f"{proxy.address}/v1", api_key=both.service.key(), max_retries=5) as client:
        job_id = client.fine_tuning.jobs.create(model="tiny-texts", training_file=file_id, extra_headers=key).id
        with pytest.raises(openai.ConflictError) as caught:
            client.fine_tuning.jobs.create(model="tiny-texts", training_file=file_id, seed=5, extra_headers=key)
    assert len(proxy.sent) == 2
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert jobs_of(http, file_id) == [job_id]


def test_keys_make_two_losses_harmless_too(both: Plant, proxy: Proxy, http: httpx.Client, file_id: str) -> None:
    proxy.plan = [Trouble.LATE_CALL, Trouble.LOST_ANSWER]
    key = {"Idempotency-Key": f"key of {file_id}"}
    with openai.OpenAI(base_url=f"{proxy.address}/v1", api_key=both.service.key(), max_retries=2) as client:
        job_id = client.fine_tuning.jobs.create(model="tiny-texts", training_file=file_id, extra_headers=key).id
    assert [answer.json()["id"] for answer in proxy.late] == [job_id]
    assert jobs_of(http, file_id) == [job_id]


def test_forty_calls_at_once_with_keys_of_their_own_make_forty_jobs(http: httpx.Client, file_id: str) -> None:
    def call(number: int) -> httpx.Response:
        body, key = {"model": "tiny-texts", "training_file": file_id}, {"Idempotency-Key": f"{file_id} {number}"}
        answer = http.post(JOBS, json=body, headers=key)
        for _ in range(MOST_RETRIES):  # who waits too long for the account on a busy machine is told to come again
            if answer.status_code != 503:
                break
            time.sleep(float(answer.headers["Retry-After"]))
            answer = http.post(JOBS, json=body, headers=key)
        return answer

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(call, range(40)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(jobs_of(http, file_id)) == 40


def test_a_call_that_no_client_counts_is_never_taken_for_another(http: httpx.Client, file_id: str) -> None:
    body = {"model": "tiny-texts", "training_file": file_id}
    made = [
        http.post(JOBS, json=body, headers=headers).json()["id"] for headers in ({"x-stainless-retry-count": "1"}, {})
    ]
    assert jobs_of(http, file_id) == made[::-1]


def lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
