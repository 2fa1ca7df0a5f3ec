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
