"""What was sent and who learns from it, in the settings."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.api.item_edits import upload
from tests.api.server import Service, pictures
from tests.page.browser import visited

pytestmark = pytest.mark.slow
HOSTILE = "<img src=x onerror=alert(1)>.zip"


def test_an_upload_says_who_learns_from_it_and_one_that_nobody_uses_is_erased(
    browser: Browser, service: Service
) -> None:
    with service.http("sender") as http, visited(browser, service.address, service.key("sender")) as tab:
        spare, used = upload(http, pictures(3), HOSTILE)["id"], upload(http, pictures(4), "used.zip")["id"]
        body = {"model": "tiny-images", "training_file": used}
        job = http.post("/v1/fine_tuning/jobs", json=body).json()["id"]
        page = tab.open("/settings")
        rows = page.get_by_role("row")
        row = rows.filter(has_text="onerror")
        expect(row).to_contain_text("No adapter has learned from it.")
        tab.expect("status of 503.*readyz")  # nobody works here
        expect(rows.filter(has_text="used.zip")).to_contain_text("An adapter learns from it now.")
        expect(rows.filter(has_text="used.zip").get_by_role("button")).to_have_count(0)
        row.get_by_role("button", name="Erase").click()
        row.get_by_role("button", name="Keep it").click()
        row.get_by_role("button", name="Erase").click()
        row.get_by_role("button", name="Erase for good").click()
        expect(row).to_have_count(0)
        expect(rows.filter(has_text=f"file {spare}")).to_have_count(1)  # among what was erased
        assert http.get(f"/v1/files/{spare}").status_code == 404
        http.post(f"/v1/fine_tuning/jobs/{job}/cancel")
        page.reload()
        expect(rows.filter(has_text="used.zip")).to_contain_text("1 adapter has learned from it.")
        tab.expect("status of 503.*readyz")
