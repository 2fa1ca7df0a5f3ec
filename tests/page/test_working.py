"""A job that works while somebody looks on: told to wait, to go on, to end; and a service that dies meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.server import Service
from tests.page.browser import Tab, visited
from tests.page.plant import JOBS, Plant
from tests.page.references import packed, picture

pytestmark = pytest.mark.slow
LONG = {"max_steps": 20_000, "surrogate_steps": 20_000, "stop": "max_steps", "interval": 10}


@pytest.fixture
def long_job(plant: Plant) -> Iterator[str]:
    """A job that works until it is told to end."""
    job = plant.create(plant.send("marked"), "tiny-images", "long", **LONG)
    plant.wait(job, lambda found: found["status"] == "running")
    yield job
    with plant.http() as http:
        http.post(f"{JOBS}/{job}/cancel")
    plant.wait(job)


def send(http: httpx.Client, numbers: range) -> str:
    """Upload some pictures."""
    files = {f"{number}.png": picture(number) for number in numbers}
    sent = packed(files)
    answer = http.post("/v1/files", files={"file": (sent["name"], sent["buffer"])}, data={"purpose": "fine-tune"})
    return str(answer.json()["id"])


def status(page: Page, word: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_contain_text(word)


def test_a_job_is_paused_resumed_stopped_and_asked_for_again(visitor: Tab, plant: Plant, long_job: str) -> None:
    page = visitor.open(f"/adapters/{long_job}")
    page.on("dialog", lambda dialog: dialog.accept())
    status(page, "Working")
    visitor.press("Pause")
    status(page, "Paused")
    assert plant.job(long_job)["status"] == "paused"
    page.reload()
    visitor.press("Resume")
    status(page, "Working")
    visitor.press("Stop")
    status(page, "Stopped")
    visitor.press("Try again with the same files")
    expect(page.get_by_role("heading", name=re.compile("^6 pictures"))).to_be_visible()
    expect(page.get_by_label("A name")).to_have_value("long")
    page.get_by_text("Settings for those who know them").click()
    expect(page.get_by_label("max steps", exact=True)).to_have_value("20000")


def test_of_two_tabs_one_pauses_and_the_other_sees_it(browser: Browser, plant: Plant, long_job: str) -> None:
    with visited(browser, plant.address, plant.key) as one, visited(browser, plant.address, plant.key) as other:
        for tab in (one, other):
            status(tab.open(f"/adapters/{long_job}"), "Working")
        one.press("Pause")
        status(other.page, "Paused")
        other.press("Resume")
        status(one.page, "Working")


def test_the_page_outlives_the_api_under_its_stream(visitor: Tab, plant: Plant, long_job: str) -> None:
    page = visitor.open(f"/adapters/{long_job}")
    status(page, "Working")
    plant.kill_api()
    status(page, "Working")
    expect(page.get_by_role("heading", name="How it is going")).to_be_visible()
    address = re.compile(rf"{JOBS}/{long_job}$")
    with page.expect_response(lambda answer: answer.ok and address.search(answer.url) is not None, timeout=60_000):
        pass  # it goes on being told
    expect(page.get_by_text("does not answer")).to_have_count(0)
    visitor.expect()


def test_what_happens_is_told_while_it_happens(visitor: Tab, plant: Plant, long_job: str) -> None:
    page = visitor.open(f"/adapters/{long_job}")
    page.get_by_text("Everything that happened").click()
    with plant.http() as http:
        events = http.get(f"{JOBS}/{long_job}/events?limit=100").json()["data"]
    for event in [event for event in events if event["type"] != "metrics"][:3]:
        expect(page.get_by_text(event["message"]).first).to_be_visible()


def test_a_job_of_several_uploads_is_asked_for_again_with_all_of_them(tab: Tab, service: Service) -> None:
    with service.http() as http:
        one, other = (send(http, numbers) for numbers in (range(3), range(3, 6)))
        body = {"model": "tiny-images", "training_file": one, "bat": {"training_files": [other]}}
        job = http.post(JOBS, json=body).json()["id"]
        http.post(f"{JOBS}/{job}/cancel")
        page = tab.open(f"/adapters/{job}")
        tab.press("Try again with the same files")
        expect(page.get_by_role("heading", name=re.compile("^3 pictures"))).to_be_visible()
        expect(page.get_by_text("1 other upload")).to_be_visible()
        tab.press("Make the adapter")
        page.wait_for_url(lambda address: "ftjob-" in address and job not in address)
        again = http.get(f"{JOBS}/{page.url.rpartition('/')[2]}").json()
        assert again["bat"]["request"]["training_files"] == [other]
        http.post(f"{JOBS}/{again['id']}/cancel")
