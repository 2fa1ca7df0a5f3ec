"""A service with the limits that it has by default, on PostgreSQL, which is the stricter about what it can hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.settings import Settings
from tests.api.server import started
from tests.conftest import PostgreSQL
from tests.inputs.catalogue import Scene


@pytest.fixture(scope="package")
def scene(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    settings = Settings(
        data=tmp_path_factory.mktemp("inputs"), database_url=postgresql.fresh(), active_job_limit=1_000_000
    )
    for service in started(settings):
        yield Scene(service)


# In a run of all tests pytest reads this file too late for its options, and the short defaults hold.
DEFAULTS = {"--fuzz-seconds": 3.0, "--fuzz-seed": 1, "--api-cases": 0}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bad inputs")
    group.addoption("--fuzz-seconds", type=float, help="how long real files are damaged and read")
    group.addoption("--fuzz-seed", type=int, help="the same seed does the same damage")
    group.addoption("--api-cases", type=int, help="calls to make up from the OpenAPI document; 0: as many as 15 s hold")


def _option(request: pytest.FixtureRequest, name: str) -> float:
    given = request.config.getoption(name, None)
    return DEFAULTS[name] if given is None else given


@pytest.fixture
def fuzz_seconds(request: pytest.FixtureRequest) -> float:
    return _option(request, "--fuzz-seconds")


@pytest.fixture
def fuzz_seed(request: pytest.FixtureRequest) -> int:
    return int(_option(request, "--fuzz-seed"))


@pytest.fixture
def api_cases(request: pytest.FixtureRequest) -> int:
    return int(_option(request, "--api-cases"))
