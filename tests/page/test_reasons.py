"""What a result says of its step is so, and what stands beside a kept step that was chosen is about that step."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from core.database.tables import Job
from core.jobs import publishing
from tests.api.server import Service, pictures
from tests.page.browser import Tab
from tests.page.plant import JOBS

pytestmark = pytest.mark.slow
LAST = {"max_steps": [300, "Proposed the last step."]}
SCARCELY = [{"step": step, "similarity": way, "swallowed": 0.0} for step, way in ((60, 0.06), (120, 0.04), (300, 0.01))]
LEVELLED = [{"step": step, "similarity": way, "swallowed": 0.0} for step, way in ((60, 0.3), (120, 0.8), (300, 0.82))]
SWALLOWED = [{"step": step, "similarity": way, "swallowed": way} for step, way in ((60, 0.1), (120, 0.4), (300, 0.9))]
MATCHED, BY_PICTURES = {"matched_loss": [120, "matched"]}, {"pictures": [120, "the pictures"]}
SAID: dict[str, tuple[dict[str, Any], str]] = {
    "nothing could be held out": (
        {"published_step": 300, "proposals": LAST | {"auto": [300, "nothing clear"]}},
        r"Nothing spoke for an earlier step, so this is the last one, 300\.$",
    ),
    "the pictures show nothing and have no say": (
        {"pictures": SCARCELY, "proposals": LAST | MATCHED | BY_PICTURES},
        r"At step 120 it understood best what it had never seen\. It went 4 % of the way to your files: look",
    ),
    "the last step is the one": (
        {"published_step": 300, "proposals": LAST | {"matched_loss": [300, "matched"]}},
        r"At its last step, 300, it understood best what it had never seen\.$",
    ),
    "the pictures come no closer": (
        {"pictures": LEVELLED, "proposals": LAST | BY_PICTURES},
        r"From step 120 on it comes hardly closer to your files, and nothing else has begun to look like them\.$",
    ),
    "the pictures come closer at a price": (
        {"pictures": SWALLOWED, "proposals": LAST | BY_PICTURES},
        r"Beyond step 120 it comes closer to your files, but what else it draws suffers from that\. It went 40 %",
    ),
    "the pictures come closer until the end": (
        {
            "published_step": 300,
            "pictures": LEVELLED[:1] + LEVELLED[2:],
            "proposals": LAST | {"pictures": [300, "the pictures"]},
        },
        r"It came closer to your files until its last step, 300\.$",
    ),
    "most answers have the voice": (
        {"answers": [{"step": 120, "fitting": 7, "asked": 10}], "proposals": LAST | {"answers": [120, "the answers"]}},
        r"At step 120 it answers 7 of 10 new questions in your voice; no other step does clearly more\.$",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_the_sentence_says_no_more_than_the_figures(
    tab: Tab, service: Service, published: dict[str, str], case: str
) -> None:
    facts, words = SAID[case]
    with service.sessions.begin() as session:
        row = session.get_one(Job, published["job"])
        before = dict(row.outcome or {})
        row.outcome = {**before, "stop_rule": "auto", "turning_point_step": None, **facts}
    try:
        page = tab.open(f"/adapters/{published['job']}")
        expect(page.locator(".why .sentence")).to_have_text(re.compile(words))
    finally:
        with service.sessions.begin() as session:
            session.get_one(Job, published["job"]).outcome = before


def test_downloads_name_the_step_that_they_hold(tab: Tab, published: dict[str, str]) -> None:
    page = tab.open(f"/adapters/{published['job']}")
    expect(page.get_by_text("Each of these is the adapter at step 120")).to_be_visible()


def test_a_job_that_publishes_a_kept_step_does_not_speak_of_training(tab: Tab, service: Service) -> None:
    with service.http() as http:
        sent = http.post("/v1/files", files={"file": ("cat.zip", pictures())}, data={"purpose": "fine-tune"}).json()
        body = {"model": "tiny-images", "training_file": sent["id"], "suffix": "again"}
        source, job = (http.post(JOBS, json=body).json()["id"] for _ in range(2))
        http.post(f"{JOBS}/{source}/cancel")
        with service.sessions.begin() as session:
            row = session.get_one(Job, job)
            row.published_from_job, row.published_from_step = source, 20
            row.outcome = publishing.taken_over(session.get_one(Job, source), 20)
        page = tab.open(f"/adapters/{job}")
        expect(page.get_by_text("This is step 20 of another adapter of yours")).to_be_visible()
        expect(page.get_by_text("Still to come")).to_have_count(0)
        tab.press("Your adapters", "link")
        expect(page.get_by_role("link", name=re.compile("again.*step 20"))).to_be_visible()
        http.post(f"{JOBS}/{job}/cancel")
        page = tab.open(f"/adapters/{job}")
        tab.press("Choose a step again", "link")
        page.wait_for_url(f"**/adapters/{source}")
        with service.sessions.begin() as session:
            row = session.get_one(Job, job)
            failure = publishing.source_gone(row)
            row.state, row.error_code, row.error_message = "FAILED", failure.code, failure.message
        page = tab.open(f"/adapters/{job}")
        expect(page.get_by_text("The adapter that kept step 20 was erased, or is damaged")).to_be_visible()
        expect(page.get_by_role("button", name="Try again with the same files")).to_be_visible()
        expect(page.get_by_role("link", name="another adapter of yours")).to_have_count(0)
