"""Those who press twice, close what works, leave a form that sends, or sit behind a proxy with words of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect

from tests.api.server import Service
from tests.api.server import pictures as zipped
from tests.page.browser import CHROMIUM, Tab, visited
from tests.page.plant import JOBS, Plant
from tests.page.references import pictures

pytestmark = pytest.mark.slow
MANY = 30  # adapters: more than the list shows at once


def held(page: Page, address: str, method: str) -> Callable[[], None]:
    """Keep calls from the service until they are let go; returns what does that."""
    waiting: list[Route] = []
    open_now: list[bool] = []

    def answer(route: Route) -> None:
        if route.request.method != method or open_now:
            route.continue_()
        else:
            waiting.append(route)

    def let_go() -> None:
        open_now.append(True)
        for route in waiting:
            route.continue_()

    page.route(re.compile(address), answer)
    return let_go


def twice(button: Locator) -> None:
    """Press twice before the page has had time to draw anything."""
    button.evaluate("button => { button.click(); setTimeout(() => button.click(), 60); }")
    button.page.wait_for_timeout(150)


def _noted(found: list[str], what: str, request: Request) -> None:
    if what in f"{request.method} {request.url}":
        found.append(request.url)


@pytest.fixture
def many(service: Service) -> str:
    """An account with more adapters than the list shows at once."""
    with service.http("many") as http:
        sent = http.post("/v1/files", files={"file": ("cat.zip", zipped())}, data={"purpose": "fine-tune"}).json()
        body = {"model": "tiny-images", "training_file": sent["id"]}
        ids = [http.post(JOBS, json=body | {"suffix": f"cat-{n}"}).json()["id"] for n in range(MANY)]
        for job in ids:
            http.post(f"{JOBS}/{job}/cancel")
    return service.key("many")


def test_older_adapters_are_shown_once_however_often_they_are_asked_for(
    browser: Browser, service: Service, many: str
) -> None:
    with visited(browser, service.address, many) as tab:
        page = tab.open("/")
        asked: list[str] = []
        page.on("request", partial(_noted, asked, "after="))
        let_go = held(page, "after=", "GET")
        twice(page.get_by_role("button", name="Show older ones"))
        let_go()
        cards = page.get_by_role("main").get_by_role("listitem")
        expect(page.get_by_role("heading", name="cat-0", exact=True)).to_be_visible()
        assert (cards.count(), len(asked)) == (MANY, 1)


def test_a_text_is_added_once_however_often_that_is_pressed(tab: Tab) -> None:
    page = tab.open("/new")
    page.get_by_text("Write or paste a text").click()
    tab.write("The text, or the answer", "Arr, the first of all seas lies to the west of us.")
    tab.press("Add it")
    expect(page.get_by_role("heading", name=re.compile("^1 text"))).to_be_visible()
    page.get_by_text("Write or paste a text").click()
    tab.write("The text, or the answer", "Ahoy, the second one lies to the east, and is deeper.")
    sent: list[str] = []
    page.on("request", partial(_noted, sent, "POST"))
    let_go = held(page, "/items$", "POST")
    twice(page.get_by_role("button", name="Add it"))
    let_go()
    expect(page.get_by_label("The text, or the answer")).to_have_value("")
    expect(page.get_by_role("heading", name=re.compile("^2 texts"))).to_be_visible()
    assert len([url for url in sent if url.endswith("/items")]) == 1


def test_a_job_is_told_to_pause_and_to_go_on_once(tab: Tab, service: Service) -> None:
    with service.http() as http:
        sent = http.post("/v1/files", files={"file": ("cat.zip", zipped())}, data={"purpose": "fine-tune"}).json()
        job = http.post(JOBS, json={"model": "tiny-images", "training_file": sent["id"]}).json()["id"]
        page = tab.open(f"/adapters/{job}")
        for order, status in (("Pause", "Paused"), ("Resume", "Waiting")):
            asked: list[str] = []
            page.on("request", partial(_noted, asked, "POST"))
            let_go = held(page, f"/{order.lower()}$", "POST")
            twice(page.get_by_role("button", name=order))
            let_go()
            expect(page.get_by_role("heading", level=1)).to_contain_text(status)
            expect(page.get_by_role("alert")).to_have_count(0)
            assert len(asked) == 1
        http.post(f"{JOBS}/{job}/cancel")


def test_whoever_closes_the_dialog_while_it_erases_is_told_all_the_same(browser: Browser, plant: Plant) -> None:
    job = plant.create(plant.send("marked", range(4)), "tiny-images", "to-erase")
    with plant.http() as http:
        assert http.post(f"{JOBS}/{job}/cancel").status_code == 200
    plant.wait(job)
    with visited(browser, plant.address, plant.key) as tab:
        page = tab.open(f"/adapters/{job}")
        tab.press("Erase this adapter")
        tab.write("Type to-erase to confirm", "to-erase")
        let_go = held(page, f"{job}$", "DELETE")
        tab.press("Erase for good")
        expect(page.get_by_role("button", name="Keep it")).to_be_disabled()
        for _ in range(3):  # a browser lets nobody be kept in a dialog
            page.keyboard.press("Escape")
        let_go()
        expect(page.get_by_role("button", name="Save the receipt")).to_be_visible()


def test_what_a_form_that_was_left_was_sending_does_not_come_into_another(browser: Browser, service: Service) -> None:
    with service.http("left") as http:
        sent = http.post("/v1/files", files={"file": ("cat.zip", zipped(5))}, data={"purpose": "fine-tune"}).json()
        job = http.post(JOBS, json={"model": "tiny-images", "training_file": sent["id"], "suffix": "five"}).json()["id"]
        http.post(f"{JOBS}/{job}/cancel")
    with visited(browser, service.address, service.key("left")) as tab:
        page = tab.open("/")
        page.get_by_role("link", name="New adapter").click()
        let_go = held(page, "/v1/files$", "POST")
        tab.give(pictures(3))
        page.get_by_role("link", name="Your adapters").click()
        page.get_by_role("link", name=re.compile("five")).click()
        tab.press("Try again with the same files")
        let_go()
        expect(page.get_by_role("heading", name=re.compile("^5 pictures"))).to_be_visible()
        expect(page.get_by_label("A name")).to_have_value("five")


def test_signing_out_while_files_are_sent_leaves_nothing_of_the_form(browser: Browser, service: Service) -> None:
    with visited(browser, service.address, service.key("hurried")) as tab:
        page = tab.open("/settings")
        page.get_by_role("link", name="New adapter").click()
        let_go = held(page, "/v1/files$", "POST")
        tab.give(pictures(3))
        page.get_by_role("link", name="Settings").click()
        tab.press("Sign out")
        with page.expect_response(re.compile("/v1/files$")):
            let_go()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("Object.keys(sessionStorage).filter((name) => name.startsWith('albatross.'))") == []
        tab.expect("status of (401|503)")


PROXY: dict[int, str] = {
    200: "The service does not answer",
    403: r"Something between this page and the service refused that \(403\)",
    413: "more at once than gets through",
    429: "faster than this service allows",
    502: "The service does not answer",
}


@pytest.mark.parametrize("status", PROXY)
def test_a_proxy_that_answers_with_a_page_of_its_own_is_told_of_in_words(tab: Tab, status: int) -> None:
    page = tab.open("/new")
    body = "<html><h1>nginx</h1></html>"
    for address in ("/v1/files$", "/v1/fine_tuning/jobs/ftjob-1$"):
        page.route(re.compile(address), lambda route: route.fulfill(status=status, content_type="text/html", body=body))
    tab.give(pictures(2))
    expect(page.get_by_role("alert").filter(has_text=re.compile(PROXY[status]))).to_be_visible()
    page = tab.open("/adapters/ftjob-1")
    expect(page.get_by_role("alert")).to_contain_text(re.compile(PROXY[status]))
    tab.expect()


def test_lines_are_copied_also_where_a_browser_gives_no_clipboard(browser: Browser, service: Service) -> None:
    port = service.address.rpartition(":")[2]
    apart = browser.browser_type.launch(
        executable_path=CHROMIUM, args=["--host-resolver-rules=MAP albatross.lan 127.0.0.1"]
    )
    try:  # plain HTTP from another machine
        with visited(apart, f"http://albatross.lan:{port}", service.key()) as tab:
            page = tab.open("/settings")
            box = page.get_by_text("albatross keys create NAME")
            expect(box).to_be_visible()
            assert page.evaluate("navigator.clipboard === undefined")
            box.locator("xpath=..").get_by_role("button").click()
            expect(page.get_by_role("button", name="Copied")).to_be_visible()
            assert page.evaluate("getSelection().toString()") == "albatross keys create NAME"
            tab.expect("status of 503.*readyz|Cross-Origin-Opener-Policy")  # which plain HTTP does not have
    finally:
        apart.close()
