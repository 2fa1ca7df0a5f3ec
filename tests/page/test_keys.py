"""Keys that open the page, that end in the middle of it, and that never stand in an address."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Browser, expect

from api.cli.serve import start_link
from api.http.key_cache import REMEMBERED_SECONDS
from core.accounts import api_keys
from tests.api.server import Service
from tests.page.browser import Tab, visited
from tests.page.references import pictures

pytestmark = pytest.mark.slow


def test_a_key_that_ends_in_the_middle_of_typing_costs_no_word(browser: Browser, service: Service) -> None:
    key = service.key("ends")
    with visited(browser, service.address, key) as tab:
        page = tab.open("/new")
        tab.give(pictures(3))
        caption = page.get_by_label("What cat-1.png shows")
        caption.fill("a cat that was about to be described")
        with service.sessions.begin() as session:
            api_keys.revoke(session, key.split("_")[1])
        time.sleep(REMEMBERED_SECONDS)  # so long it may still be taken
        page.evaluate("document.activeElement.blur()")  # where the sign-in is not there already
        expect(page.get_by_text("Your key has expired or was withdrawn")).to_be_visible()
        tab.expect("status of 401")
        with service.sessions.begin() as session:
            tab.key = service.keys["ends"] = api_keys.create(session, "ends")
        tab.write("Your key", tab.key)
        tab.press("Sign in")
        expect(caption).to_have_value("a cat that was about to be described")


def test_signing_out_leaves_nothing_of_the_key_or_of_what_was_typed(tab: Tab) -> None:
    page = tab.open("/new")
    page.get_by_text("Write or paste a text").click()
    tab.write("The text, or the answer", "for nobody else")
    page = tab.open("/settings")
    tab.press("Sign out")
    tab.expect("status of 503.*readyz")  # nobody works here
    expect(page.get_by_label("Your key")).to_be_visible()
    left = page.evaluate("JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie])")
    assert tab.key not in left
    assert "nobody else" not in left
    page.reload()
    expect(page.get_by_label("Your key")).to_be_visible()


def test_a_start_link_opens_where_the_page_stands_already(browser: Browser, service: Service) -> None:
    with visited(browser, service.address) as tab:
        page = tab.open("/")
        expect(page.get_by_label("Your key")).to_be_visible()
        tab.write("Your key", "alb_“pasted from a letter”")
        tab.press("Sign in")
        expect(page.get_by_role("alert")).to_contain_text("opens nothing")
        tab.open(start_link(service.settings, "", "again"))
        expect(page.get_by_role("link", name="Make the first one")).to_be_visible()
        assert "start" not in page.evaluate("location.href")


def test_an_address_that_leads_nowhere_says_so(tab: Tab) -> None:
    page = tab.open("/adapters/ftjob-nobody")
    expect(page.get_by_role("heading", name=re.compile("nothing here"))).to_be_visible()
    tab.expect("status of 404")


def test_a_screen_that_is_opened_while_the_service_is_away_comes_once_it_is_back(tab: Tab) -> None:
    page = tab.open("/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.context.set_offline(True)
    tab.press("Settings", "link")
    expect(page.get_by_text("does not answer")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    expect(page.get_by_text("does not answer")).to_have_count(0)
    tab.expect("net::ERR_")


def test_a_page_that_is_older_than_the_service_loads_itself_anew(tab: Tab) -> None:
    page = tab.open("/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    other = 'import { gone } from "../lib/api.js"; export const Settings = gone;'
    loads: list[str] = []
    page.on("load", lambda page: loads.append(page.url))
    page.route(
        "**/page/screens/settings.js",
        lambda route: route.continue_() if loads else route.fulfill(body=other, content_type="text/javascript"),
    )
    tab.press("Settings", "link")
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    assert len(loads) == 1
    assert page.url.endswith("/settings")


def test_a_part_that_never_comes_does_not_load_the_page_again_and_again(tab: Tab) -> None:
    page = tab.open("/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    loads: list[str] = []
    asked: list[str] = []
    page.on("load", lambda page: loads.append(page.url))
    page.route("**/page/screens/settings.js", lambda route: (asked.append(route.request.url), route.abort()))
    tab.press("Settings", "link")
    expect(page.get_by_text("does not answer")).to_be_visible()
    assert len(loads) == 1
    assert len(asked) >= 2
    tab.expect()


def test_an_estimate_comes_once_the_service_is_back(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(pictures(6))
    expect(page.get_by_text(re.compile(r"^About \d"))).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("radio", name=re.compile("A way of drawing")).check()
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_have_count(0)
    tab.expect("net::ERR_")
