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


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bad inputs")
    group.addoption("--fuzz-seconds", type=float, default=3.0, help="how long real files are damaged and read")
    group.addoption("--fuzz-seed", type=int, default=1, help="the same seed does the same damage")


@pytest.fixture
def fuzz_seconds(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--fuzz-seconds"))


@pytest.fixture
def fuzz_seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--fuzz-seed"))
