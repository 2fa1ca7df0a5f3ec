"""From nothing to an adapter that is asked for: what most visitors do, within a few touches."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.api.server import Service
from tests.page.browser import Tab, visited
from tests.page.references import pictures, texts

MOST_ACTS = 6


@pytest.mark.parametrize(("given", "kind"), [(pictures, "pictures"), (texts, "texts")])
def test_files_become_a_job_in_a_few_touches(browser: Browser, service: Service, given, kind: str) -> None:
    with visited(browser, service.address, service.key(f"new-{kind}")) as tab:
        page = tab.open("/")
        tab.press("Make the first one", "link")
        tab.give(given(6))
        expect(page.get_by_role("heading", name=re.compile(rf"^6 {kind}"))).to_be_visible()
        expect(page.get_by_role("complementary")).to_contain_text(re.compile("About .*"))
        tab.press("Make the adapter")
        page.wait_for_url(re.compile(r"/adapters/ftjob-"))
        expect(page.get_by_text("Waiting", exact=True)).to_be_visible()
        assert tab.acts <= MOST_ACTS
        assert tab.shift() == 0
    job = page.url.rpartition("/")[2]
    with service.http(f"new-{kind}") as http:
        assert http.get(f"/v1/fine_tuning/jobs/{job}").json()["model"] == f"tiny-{kind.replace('pictures', 'images')}"


def test_a_wrong_key_is_refused_and_a_right_one_opens_the_page(browser: Browser, service: Service) -> None:
    with visited(browser, service.address) as tab:
        page = tab.open("/new")
        for key in ("alb_wrong", service.key()):
            tab.write("Your key", key)
            tab.press("Sign in")
            if key == "alb_wrong":
                expect(page.get_by_role("alert")).to_contain_text("opens nothing")
                tab.expect(r"status of 401")
        tab.key = service.key()
        expect(page.get_by_role("heading", name="What shall the model learn?")).to_be_visible()


def test_a_result_says_why_and_what_to_download(tab: Tab, published: dict[str, str]) -> None:
    page = tab.open(f"/adapters/{published['job']}")
    expect(page.get_by_text("Why it stopped here")).to_be_visible()
    for name in ("ComfyUI, A1111, Forge", "diffusers", "PEFT, transformers, vLLM"):
        expect(page.get_by_role("listitem").filter(has_text=name).first).to_be_visible()
    assert tab.shift() == 0
