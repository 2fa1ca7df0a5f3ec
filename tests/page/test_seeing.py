"""Every state of the page for those who see little, hold a phone, like it dark, or use no mouse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.api.server import Service
from tests.page.browser import Tab, visited
from tests.page.references import pictures, texts

pytestmark = pytest.mark.slow
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
SERIOUS = {"serious", "critical"}
FORMS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}


def sign_in(tab: Tab, _: dict[str, str]) -> None:
    tab.open("/")
    tab.page.evaluate("sessionStorage.removeItem('albatross.key')")
    tab.open("/")
    expect(tab.page.get_by_label("Your key")).to_be_visible()


def new(tab: Tab, _: dict[str, str]) -> None:
    tab.open("/new")
    expect(tab.page.get_by_text("Drop pictures or texts here")).to_be_visible()


def new_pictures(tab: Tab, _: dict[str, str]) -> None:
    tab.open("/new")
    tab.give(pictures(5))
    expect(tab.page.get_by_role("heading", name=re.compile("^5 pictures"))).to_be_visible()
    tab.page.get_by_text("Settings for those who know them").click()
    expect(tab.page.get_by_label("rank", exact=True)).to_be_visible()


def new_texts(tab: Tab, _: dict[str, str]) -> None:
    tab.open("/new")
    tab.give(texts(5))
    expect(tab.page.get_by_role("heading", name=re.compile("^5 texts"))).to_be_visible()


def adapters(tab: Tab, _: dict[str, str]) -> None:
    tab.open("/")
    expect(tab.page.get_by_role("heading", name="Your adapters")).to_be_visible()


def result(tab: Tab, published: dict[str, str]) -> None:
    tab.open(f"/adapters/{published['job']}")
    expect(tab.page.get_by_text("Why it stopped here")).to_be_visible()


def training(tab: Tab, published: dict[str, str]) -> None:
    tab.open(f"/adapters/{published['job']}/training")
    tab.page.get_by_text("Show as a table").first.click()
    expect(tab.page.get_by_role("table").first).to_be_visible()


def erasing(tab: Tab, published: dict[str, str]) -> None:
    result(tab, published)
    tab.press("Erase this adapter")
    expect(tab.page.get_by_role("dialog")).to_be_visible()


def settings(tab: Tab, _: dict[str, str]) -> None:
    tab.open("/settings")
    expect(tab.page.get_by_role("heading", name="Webhooks")).to_be_visible()
    tab.expect("status of 503.*readyz")  # nobody works here


def nowhere(tab: Tab, _: dict[str, str]) -> None:
    tab.open("/adapters/ftjob-nobody")
    expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
    tab.page.wait_for_load_state("networkidle")
    tab.expect("status of 404")


def docs(tab: Tab, _: dict[str, str]) -> None:
    tab.open("/docs")
    expect(tab.page.get_by_role("heading", name="JobRequest", exact=True)).to_be_attached()


STATES: tuple[Callable[[Tab, dict[str, str]], None], ...] = (
    sign_in,
    new,
    new_pictures,
    new_texts,
    adapters,
    result,
    training,
    erasing,
    settings,
    nowhere,
    docs,
)


@pytest.fixture(params=FORMS)
def formed(request: pytest.FixtureRequest, browser: Browser, service: Service) -> Iterator[Tab]:
    with visited(browser, service.address, service.key(), **FORMS[request.param]) as tab:
        yield tab


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_nobody_is_shut_out_and_nothing_jumps_or_sticks_out(
    state: Callable[[Tab, dict[str, str]], None], formed: Tab, published: dict[str, str]
) -> None:
    state(formed, published)
    assert faults(formed.page) == []
    formed.fits()
    formed.stands_still()


def faults(page: Page) -> list[str]:
    """What axe finds against the page: the rule, how bad it is, and where."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:120]} {node['failureSummary'][:200]}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"][:3]
    ]


def test_the_first_tab_stop_leads_past_the_menu(tab: Tab, published: dict[str, str]) -> None:
    page = tab.open(f"/adapters/{published['job']}")
    expect(page.get_by_text("Why it stopped here")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_whoever_wants_no_motion_gets_none(browser: Browser, service: Service, published: dict[str, str]) -> None:
    with visited(browser, service.address, service.key(), reduced_motion="reduce") as tab:
        page = tab.open(f"/adapters/{published['job']}")
        expect(page.get_by_text("Why it stopped here")).to_be_visible()
        assert page.evaluate("document.getAnimations().filter((one) => one.playState === 'running').length") == 0


@pytest.mark.parametrize("given", [pictures, texts])
def test_nothing_jumps_when_files_take_their_time(
    browser: Browser, service: Service, given: Callable[[int], list[FilePayload]]
) -> None:
    """What comes more than half a second after a touch is no answer to it for a browser, which counts it as a jump."""
    with visited(browser, service.address, service.key("slow"), **FORMS["phone"]) as tab:
        tab.page.route("**/v1/files", lambda route: (tab.page.wait_for_timeout(1000), route.continue_()))
        tab.open("/new")
        tab.give(given(5))
        expect(tab.page.get_by_role("heading", name=re.compile("^5 "))).to_be_visible()
        expect(tab.page.get_by_text(re.compile(r"^About \d|^About a"))).to_be_visible()
        tab.stands_still()
