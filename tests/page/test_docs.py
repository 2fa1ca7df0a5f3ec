"""The API's document as a person reads it, in a real browser and without another host."""

from __future__ import annotations

import httpx
from playwright.sync_api import Browser, expect

from tests.api.server import Service
from tests.page.browser import visited


def test_every_call_and_every_object_is_read_without_a_key_and_found(browser: Browser, service: Service) -> None:
    document = httpx.get(f"{service.address}/openapi.json").json()
    calls = [(method, path) for path, methods in document["paths"].items() for method in methods]
    with visited(browser, service.address) as tab:
        page = tab.open("/docs#create_job")
        heading = page.get_by_role("heading", name="POST /v1/fine_tuning/jobs", exact=True)
        expect(heading).to_be_in_viewport()
        said = page.locator("main h2").all_inner_texts()
        assert said == [
            *(f"{method.upper()} {path}" for method, path in calls),
            *sorted(document["components"]["schemas"]),
        ]
        expect(page.locator("#object-BatRequest + p + h3 + div")).to_contain_text("share of a batch that protects")
        tab.write("Find", "erasures")
        listed = page.get_by_role("navigation", name="What there is").get_by_role("listitem")
        expect(listed).to_have_count(sum("/erasures" in path for _, path in calls))
        tab.press("JobRequest", role="link")
        expect(page.locator("#object-JobRequest")).to_be_in_viewport()
        assert not page.get_by_text("[object Object]").count()
        assert not page.get_by_text("undefined", exact=True).count()
