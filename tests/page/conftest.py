"""One browser for all tests of the page, services that it looks at, and tabs; without Chromium they are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser

from core.settings import Settings
from tests.api.outcome import publish
from tests.api.server import Service, started
from tests.page.browser import CHROMIUM, MISSING, Tab, chromium, visited

if TYPE_CHECKING:
    from tests.page.plant import Plant


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # until the package is through: while it lives no other test of this process can run an event loop
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The API alone, on backbones that are facts only: quick, and nobody works on its jobs."""
    folder = tmp_path_factory.mktemp("page")
    yield from started(Settings(data=folder, active_job_limit=1000, jobs_per_minute=1000, requests_per_minute=0))


@pytest.fixture(scope="package")
def published(service: Service) -> dict[str, str]:
    """A job of alice that has succeeded, as a worker would have written it."""
    with service.openai() as client:
        return publish(service, client)


@pytest.fixture
def tab(browser: Browser, service: Service) -> Iterator[Tab]:
    """A signed-in tab at the API alone."""
    with visited(browser, service.address, service.key()) as tab:
        yield tab


@pytest.fixture(scope="package")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """The whole service, with a worker."""
    from tests.page.plant import planted  # what the quick tests need not wait for

    with planted(tmp_path_factory.mktemp("plant")) as plant:
        yield plant


@pytest.fixture(scope="package")
def image_job(plant: Plant) -> str:
    """A job that has learned pictures."""
    return plant.finished(plant.create(plant.send("marked"), "tiny-images", "my-cat"))


@pytest.fixture(scope="package")
def text_job(plant: Plant) -> str:
    """A job that has learned texts."""
    return plant.finished(plant.create(plant.send("voice"), "tiny-texts", "my-voice"))


@pytest.fixture
def visitor(browser: Browser, plant: Plant) -> Iterator[Tab]:
    """A signed-in tab at the whole service."""
    with visited(browser, plant.address, plant.key) as tab:
        yield tab
