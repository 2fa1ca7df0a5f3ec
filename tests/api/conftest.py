"""A running service on each database, a client for each way of talking to it, and uploaded references."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import openai
import pytest

from core.settings import Settings
from tests.api.outcome import publish
from tests.api.server import Service, chats, pictures, started


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql").fresh()
    yield from started(Settings(data=folder, database_url=url, active_job_limit=1000, max_file_bytes=2_000_000))


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with service.http() as client:
        yield client


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with service.openai() as client:
        yield client


@pytest.fixture
def image_file(client: openai.OpenAI) -> str:
    return client.files.create(file=("cat.zip", pictures()), purpose="fine-tune").id


@pytest.fixture
def text_file(client: openai.OpenAI) -> str:
    return client.files.create(file=("pirate.jsonl", chats()), purpose="fine-tune").id


@pytest.fixture
def create(http: httpx.Client, image_file: str) -> Callable[..., httpx.Response]:
    """POST a job on the image backbone; keywords change its body."""

    def post(headers: dict[str, str] | None = None, **changes: object) -> httpx.Response:
        body = {"model": "tiny-images", "training_file": image_file, **changes}
        return http.post("/v1/fine_tuning/jobs", json=body, headers=headers)

    return post


@pytest.fixture
def published(service: Service, client: openai.OpenAI) -> dict[str, str]:
    return publish(service, client)
