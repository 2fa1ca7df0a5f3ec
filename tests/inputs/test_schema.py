"""The service answers whatever its OpenAPI document leads a program to send, and as the document says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.settings import Settings
from tests.api.server import Service, started
from tests.conftest import PostgreSQL
from tests.inputs.schema import explore

SHORT_SECONDS, LEAST = 15.0, 100  # of a round, and calls in as many rounds as a machine takes for them
EXAMPLES = 200  # of each kind for each operation, in one of the rounds of a long run


@pytest.fixture(scope="module")
def service(postgresql: PostgreSQL, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = Settings(
        data=tmp_path_factory.mktemp("schema"),
        database_url=postgresql.fresh(),
        broker_url=valkey_url,
        active_job_limit=1_000_000,
        max_file_bytes=5_000_000,
    )
    yield from started(settings)


def test_every_answer_is_documented(service: Service) -> None:
    document = httpx.get(f"{service.address}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = operation["responses"]
            assert set(answers) == {"200", "4XX", "503"}, (method, path)
            assert all(answer["content"] and answer["headers"]["x-request-id"] for answer in answers.values())
            assert answers["4XX"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert set(document["components"]["schemas"]["ErrorDetail"]["required"]) == {"message", "type", "param", "code"}
    assert document["paths"]["/v1/files"]["post"]["requestBody"]["required"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


@pytest.mark.slow
def test_calls_made_up_from_the_document_are_answered_as_it_says(
    service: Service, tmp_path: Path, api_cases: int, fuzz_seed: int
) -> None:
    cases = rounds = 0
    while cases < max(api_cases, LEAST):
        folder = tmp_path / str(rounds)
        folder.mkdir()
        limits = {"examples": EXAMPLES} if api_cases else {"examples": 10, "seconds": SHORT_SECONDS}
        outcome = explore(service, folder, seed=fuzz_seed + rounds, **limits)
        cases, rounds = cases + outcome.cases, rounds + 1
        assert outcome.failures == 0, outcome.said
        assert outcome.cases > 0, outcome.said
        print(f"\n{cases} calls in {rounds} rounds")
