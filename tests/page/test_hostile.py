"""Names, captions, texts, prompts and errors that would like to be code or to break the frame."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Browser, expect

from core.database.tables import Job
from core.jobs import leases
from core.jobs.leases import Claim
from tests.api.outcome import FILES, publish
from tests.api.server import Service, pictures
from tests.page.browser import Tab, visited
from tests.page.references import file, packed, picture

pytestmark = pytest.mark.slow
SCRIPT = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>${window.owned=1}'
LONG = "w" * 1800
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


def harmless(tab: Tab) -> None:
    """Nothing ran, nothing sticks out."""
    assert tab.page.evaluate("window.owned") is None
    tab.fits()
    tab.expect(r"status of 4\d\d")


@pytest.mark.parametrize("form", [{}, PHONE], ids=["desk", "phone"])
def test_names_and_captions_are_only_ever_words(browser: Browser, service: Service, form: dict) -> None:
    hostile = {
        "<b onclick=owned=1>.png": picture(0),
        "<b onclick=owned=1>.txt": SCRIPT,
        "..etc..passwd.png": picture(1),
        "long/" + "n" * 180 + ".png": picture(2),
        "long/" + "n" * 180 + ".txt": LONG,
        "\u202egnp.exe.png": picture(3),
        "javascript:alert(1).png": picture(4),
    }
    with visited(browser, service.address, service.key(), **form) as tab:
        page = tab.open("/new")
        tab.give([packed(hostile, '"><script>owned=1</script>.zip')])
        expect(page.get_by_role("heading", name=re.compile("pictures"))).to_be_visible()
        expect(page.get_by_role("textbox").first).to_be_visible()
        page.get_by_label(re.compile("^What .* shows")).first.fill(SCRIPT + LONG)
        tab.write("A word that calls it", SCRIPT[:40])
        tab.write("A name", SCRIPT)
        page.get_by_label("A name").blur()
        expect(page.get_by_role("complementary")).to_contain_text(re.compile("About|Working|."))
        harmless(tab)
        page.reload()
        expect(page.get_by_label(re.compile("^What .* shows")).first).to_be_visible()
        harmless(tab)


@pytest.mark.parametrize("form", [{}, PHONE], ids=["desk", "phone"])
def test_texts_are_only_ever_words(browser: Browser, service: Service, form: dict) -> None:
    with visited(browser, service.address, service.key(), **form) as tab:
        page = tab.open("/new")
        tab.give([file(f"{n}.txt", f"{SCRIPT} {n} {LONG}".encode(), "text/plain") for n in range(3)])
        expect(page.get_by_role("heading", name=re.compile("^3 texts"))).to_be_visible()
        expect(page.get_by_text("onerror").first).to_be_visible()
        harmless(tab)


@pytest.mark.parametrize("form", [{}, PHONE], ids=["desk", "phone"])
def test_what_a_job_says_is_only_ever_words(browser: Browser, service: Service, form: dict) -> None:
    with service.openai("hostile") as client:
        job = publish_hostile(service, client)
    with visited(browser, service.address, service.key("hostile"), **form) as tab:
        for path in (f"/adapters/{job}", f"/adapters/{job}/training", "/"):
            tab.open(path)
            expect(tab.page.get_by_role("heading", level=1).first).to_be_visible()
            harmless(tab)


def publish_hostile(service: Service, client) -> str:
    """A finished job all of whose words are hostile, wherever the page may show them."""
    said = {"prompt": SCRIPT + LONG, "caption": SCRIPT + LONG, "source": SCRIPT, "id": SCRIPT}
    files = dict(FILES)
    for name in ("train/samples/samples.json", "score/influence.json"):
        rows = [row | {key: words for key, words in said.items() if key in row} for row in json.loads(FILES[name][2])]
        files[name] = ("stage", None, json.dumps(rows).encode())
    job = publish(service, client, files)["job"]
    with service.sessions.begin() as session:
        row = session.get_one(Job, job)
        row.outcome = {**(row.outcome or {}), "stop_reason": SCRIPT + LONG, "verdict": SCRIPT}
        row.parameters = {**(row.parameters or {}), "trigger": SCRIPT, "reasons": {SCRIPT: LONG}}
    return job


def test_an_error_of_a_job_is_only_ever_words(browser: Browser, service: Service) -> None:
    with service.openai("failing") as client:
        uploaded = client.files.create(file=("cat.zip", pictures()), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model="tiny-images", training_file=uploaded.id, suffix="x").id
    with service.sessions.begin() as session:
        session.get_one(Job, job).priority = 10  # before those that other tests have left
        session.flush()
        claimed = leases.claim(
            session, queue=service.settings.queue, worker_id="w", lease_seconds=600, account_job_limit=1000
        )
        assert claimed is not None
        assert claimed.id == job
        assert leases.fail(session, Claim.of(claimed), "diverged", SCRIPT + LONG)
    with visited(browser, service.address, service.key("failing"), **PHONE) as tab:
        page = tab.open(f"/adapters/{job}")
        expect(page.get_by_text("onerror").first).to_be_visible()
        harmless(tab)
