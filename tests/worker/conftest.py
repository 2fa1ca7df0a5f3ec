"""A shop floor on each database; the one with a broker runs real workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.settings import Settings
from core.storage.factory import storage
from tests.worker.floor import Floor, settings


def furnished(chosen: Settings) -> Iterator[Floor]:
    chosen.data.mkdir(parents=True, exist_ok=True)
    migrate(chosen.database)
    engine = connect(chosen.database)
    floor = Floor(chosen, sessions(engine), storage(chosen))
    yield floor
    floor.trainer.discard()
    engine.dispose()


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    yield from furnished(settings(tmp_path / "data"))


@pytest.fixture
def plant(request: pytest.FixtureRequest, tmp_path: Path, valkey_url: str) -> Iterator[Floor]:
    """A floor that real workers and dispatchers share, with a real broker between them; on SQLite unless asked.

    Its leases are short, for those who kill workers and wait until their jobs are taken over.
    """
    url = None if getattr(request, "param", "sqlite") == "sqlite" else request.getfixturevalue("postgresql").fresh()
    chosen = settings(tmp_path / "data", url, valkey_url)
    yield from furnished(chosen.model_copy(update={"lease_seconds": 4.0, "stall_seconds": 3.0}))
