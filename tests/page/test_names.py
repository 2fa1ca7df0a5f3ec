"""What an adapter is called, and which picture stands for it in the list."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.api.outcome import publish
from tests.api.server import Service
from tests.page.browser import Tab

pytestmark = pytest.mark.slow


@pytest.fixture
def job(service: Service) -> str:
    with service.openai() as client:
        return publish(service, client)["job"]


def test_an_adapter_gets_another_name_everywhere_and_loses_it_again(tab: Tab, job: str) -> None:
    page = tab.open(f"/adapters/{job}")
    tab.press("Rename")
    tab.write("Its name", "My <b>cat</b> & I")
    tab.press("Save")
    expect(page.get_by_role("heading", level=1)).to_contain_text("My <b>cat</b> & I")
    expect(page).to_have_title("My <b>cat</b> & I · Ready · Albatross")
    page.reload()
    tab.press("Rename")
    expect(page.get_by_label("Its name")).to_have_value("My <b>cat</b> & I")
    tab.press("Leave it as it was")
    tab.open("/")
    expect(page.get_by_role("link").filter(has_text="My <b>cat</b> & I")).to_have_count(1)
    tab.open(f"/adapters/{job}")
    tab.press("Rename")
    tab.write("Its name", "")
    tab.press("Save")
    expect(page.get_by_role("heading", level=1)).to_contain_text("cat Ready")


def test_the_list_has_a_picture_of_each_and_asks_for_all_at_once(tab: Tab, service: Service, job: str) -> None:
    with service.http() as http:
        told = http.get("/v1/fine_tuning/jobs?covers=true&limit=24").json()["data"]
    cover = next(row["bat"]["cover"] for row in told if row["id"] == job)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    page = tab.open("/")
    shown = page.locator(f"a[href='/adapters/{job}'] img")
    expect(shown).to_have_attribute("src", cover)
    with_pictures = [row for row in told if row["bat"]["cover"]]
    assert len(with_pictures) > 0
    assert len([url for url in asked if "/items" in url]) <= len(told) - len(with_pictures)
