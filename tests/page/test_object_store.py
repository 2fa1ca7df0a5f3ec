"""The page where the service keeps its files in an object store that clients can reach under an address of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.api.outcome import FILES, publish
from tests.api.server import serving
from tests.conftest import s3_settings
from tests.page.browser import kept, visited

pytestmark = pytest.mark.slow


def test_everything_is_fetched_from_the_service_itself(browser: Browser, s3: str, tmp_path: Path) -> None:
    settings = s3_settings(s3, tmp_path).model_copy(update={"s3_public_endpoint": s3, "requests_per_minute": 0})
    with serving(settings) as service:
        with service.openai() as client:
            job = publish(service, client)["job"]
        with visited(browser, service.address, service.key()) as tab:
            page = tab.open(f"/adapters/{job}")
            row = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="ComfyUI, A1111, Forge"))
            with page.expect_download() as download:
                row.get_by_role("button", name="↓").click()
            assert kept(download.value) == FILES["adapter-kohya.safetensors"][2]
            expect(page.get_by_role("alert")).to_have_count(0)
