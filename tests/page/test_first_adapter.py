"""From a start link to an adapter that is asked for: what most visitors do, within a few touches."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Browser, FilePayload, expect

from api.cli.serve import start_link
from tests.api.server import Service
from tests.page.browser import Tab, visited
from tests.page.references import pictures, texts

MOST_ACTS = 6
Given = Callable[[int], Sequence[FilePayload]]


@pytest.mark.parametrize(("given", "kind"), [(pictures, "pictures"), (texts, "texts")])
def test_a_start_link_and_files_become_a_job_in_a_few_touches(
    browser: Browser, service: Service, given: Given, kind: str
) -> None:
    with visited(browser, service.address) as tab:
        page = tab.open(start_link(service.settings, "", kind))
        tab.press("Make the first one", "link")
        tab.key = page.evaluate("sessionStorage.getItem('albatross.key')")
        assert "start" not in page.evaluate("location.href")
        tab.give(given(6))
        expect(page.get_by_role("heading", name=re.compile(rf"^6 {kind}"))).to_be_visible()
        expect(page.get_by_text(re.compile(r"^About \d|^About a"))).to_be_visible()
        chosen = page.get_by_role("group", name=re.compile("model")).get_by_role("radio", checked=True)
        model = chosen.locator("xpath=..").inner_text()
        tab.press("Make the adapter")
        page.wait_for_url(re.compile(r"/adapters/ftjob-"))
        expect(page.get_by_role("heading", level=1)).to_contain_text("Waiting")
        assert tab.acts <= MOST_ACTS
        tab.stands_still()
    job = page.url.rpartition("/")[2]
    with service.http(kind) as http:
        assert http.get(f"/v1/fine_tuning/jobs/{job}").json()["model"] in model


def test_a_link_opens_once_and_a_key_as_often_as_it_is_right(browser: Browser, service: Service) -> None:
    link = start_link(service.settings, "", "once")
    with visited(browser, service.address) as first:
        expect(first.open(link).get_by_role("link", name="Make the first one")).to_be_visible()
    with visited(browser, service.address) as tab:
        page = tab.open(link)
        expect(page.get_by_text("used before")).to_be_visible()
        tab.write("Your key", "alb_wrong")
        tab.press("Sign in")
        expect(page.get_by_role("alert")).to_contain_text("opens nothing")
        tab.expect(r"status of 40[13]")
        tab.key = service.key()
        tab.write("Your key", tab.key)
        tab.press("Sign in")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_label("Your key")).to_have_count(0)


def test_a_result_says_why_and_what_to_download(tab: Tab, published: dict[str, str]) -> None:
    page = tab.open(f"/adapters/{published['job']}")
    expect(page.get_by_text("Why it stopped here")).to_be_visible()
    for name in ("ComfyUI, A1111, Forge", "diffusers", "PEFT, transformers, vLLM"):
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    tab.stands_still()
