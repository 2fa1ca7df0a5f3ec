"""What a visitor reads and takes away of a finished adapter is what the API has of it."""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.page.browser import Tab, kept, visited
from tests.page.plant import JOBS, Plant

pytestmark = pytest.mark.slow


def listed(plant: Plant, job: str, what: str) -> list[dict[str, Any]]:
    with plant.http() as http:
        answer = http.get(f"{JOBS}/{job}/{what}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def save(page: Page, button: Locator) -> bytes:
    with page.expect_download() as download:
        button.click()
    return kept(download.value)


@pytest.mark.parametrize("kind", ["image_job", "text_job"])
def test_the_numbers_of_the_table_are_those_of_the_api(
    kind: str, visitor: Tab, plant: Plant, request: pytest.FixtureRequest
) -> None:
    job = request.getfixturevalue(kind)
    page = visitor.open(f"/adapters/{job}/training")
    page.get_by_text("Show as a table").first.click()
    table = page.get_by_role("table").filter(has=page.get_by_role("columnheader", name="Step"))
    expect(table.first).to_be_visible()
    heads, rows = read(table.first)
    told = {row["step"]: row for row in listed(plant, job, "metrics?limit=1000") if row["stage"] == "train"}
    assert len(rows) > 4
    column = {"your files": "reference_loss", "files kept from it": "heldout_loss", "everything else": "probe_loss"}
    compared = 0
    for row in rows:
        for head, value in zip(heads[1:], row[1:], strict=True):
            name = column.get(head, head.replace(" ", "_"))
            if value and name in told[int(row[0])]:
                assert near(value, told[int(row[0])][name]), (row[0], head)
                compared += 1
    assert compared > 4


def read(table: Locator) -> tuple[list[str], list[list[str]]]:
    lines = [[cell.strip() for cell in line.split("\t")] for line in table.inner_text().splitlines() if line.strip()]
    return lines[0], lines[1:]


def near(shown: str, told: float) -> bool:
    """Whether a number is this one, as far as its digits go."""
    value = float(shown.replace("\u2212", "-").replace("\u202f", "").replace(",", ""))
    return abs(value - told) <= max(0.006 * abs(told), 0.00051)


def test_every_format_is_saved_byte_for_byte(visitor: Tab, plant: Plant, image_job: str) -> None:
    page = visitor.open(f"/adapters/{image_job}")
    found = plant.job(image_job)
    formats = {"kohya": "ComfyUI, A1111, Forge", "diffusers": "diffusers", "peft": "PEFT, transformers, vLLM"}
    for form, title in formats.items():
        row = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=title, exact=True))
        saved = save(page, row.get_by_role("button", name="↓"))
        with plant.http() as http:
            address = f"/v1/models/{found['fine_tuned_model']}/download?format={form}"
            told = http.get(address, follow_redirects=True).content
        assert hashlib.sha256(saved).digest() == hashlib.sha256(told).digest()


def test_a_large_file_goes_to_the_place_that_was_chosen(visitor: Tab, plant: Plant, image_job: str) -> None:
    page = visitor.page
    page.add_init_script("""window.showSaveFilePicker = async ({ suggestedName }) =>
      (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true });""")
    found = plant.job(image_job)
    card = next(row for row in found["bat"]["artifacts"] if row["format"] == "card")
    grown = found["bat"]["artifacts"] + [card | {"bytes": 400_000_000}]
    told = found | {"bat": found["bat"] | {"artifacts": [row for row in grown if row is not card]}}
    page.route(re.compile(rf"{JOBS}/{image_job}$"), lambda route: route.fulfill(json=told))
    visitor.open(f"/adapters/{image_job}")
    button = page.get_by_role("button", name="400 MB")
    with page.expect_response(re.compile("format=card")) as answer:
        button.click()
    expect(button).to_be_enabled()
    read = """async (name) => {
      const place = await (await navigator.storage.getDirectory()).getFileHandle(name);
      return (await place.getFile()).text();
    }"""
    assert json.loads(page.evaluate(read, card["name"].rpartition("/")[2])) == answer.value.json()


def test_another_kept_step_is_shown_and_saved_as_the_api_has_it(visitor: Tab, plant: Plant, image_job: str) -> None:
    page = visitor.open(f"/adapters/{image_job}")
    published = plant.job(image_job)["bat"]["published_step"]
    other = next(row for row in listed(plant, image_job, "checkpoints") if row["step_number"] != published)
    page.get_by_role("radio", name=re.compile(rf"^{other['step_number']}\b")).click()
    row = page.get_by_role("listitem").filter(has_text=f"Weights of step {other['step_number']}")
    saved = save(page, row.get_by_role("button", name="↓"))
    with plant.http() as http:
        address = f"/v1/models/{other['fine_tuned_model_checkpoint']}/download"
        told = http.get(address, follow_redirects=True).content
    assert len(saved) == other["bat"]["bytes"]
    assert hashlib.sha256(saved).digest() == hashlib.sha256(told).digest()


def test_another_kept_step_becomes_an_adapter_beside_the_first(visitor: Tab, plant: Plant, image_job: str) -> None:
    page = visitor.open(f"/adapters/{image_job}")
    published = plant.job(image_job)["bat"]["published_step"]
    other = next(row for row in listed(plant, image_job, "checkpoints") if row["step_number"] != published)[
        "step_number"
    ]
    page.get_by_role("radio", name=re.compile(rf"^{other}\b")).click()
    visitor.press("Make an adapter of it")
    page.wait_for_url(lambda address: "/adapters/ftjob-" in address and image_job not in address)
    made = plant.job(plant.finished(page.url.rpartition("/")[2]))
    expect(page.get_by_text(f"You chose step {other} yourself.")).to_be_visible()
    assert made["bat"]["published_step"] == other
    assert made["fine_tuned_model"] != plant.job(image_job)["fine_tuned_model"]
    visitor.press("another adapter of yours", "link")
    expect(page.get_by_role("radio", checked=True)).to_have_accessible_name(re.compile(rf"^{published}\b"))


def test_arrows_lead_from_one_kept_step_to_the_next(visitor: Tab, image_job: str) -> None:
    page = visitor.open(f"/adapters/{image_job}")
    steps = page.get_by_role("radiogroup", name=re.compile("steps")).get_by_role("radio")
    expect(steps.first).to_be_visible()
    page.get_by_role("radio", checked=True).focus()
    for _ in range(steps.count()):
        page.keyboard.press("ArrowLeft")
    expect(steps.first).to_be_checked()
    expect(steps.first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(steps.nth(1)).to_be_checked()


def test_the_slider_uncovers_one_picture_over_the_other(visitor: Tab, image_job: str) -> None:
    page = visitor.open(f"/adapters/{image_job}")
    slider = page.get_by_role("slider")
    expect(slider).to_be_visible()
    frame = slider.locator("xpath=..")
    slider.fill("0")
    left = shot(frame)
    slider.fill("100")
    assert shot(frame) != left


def shot(frame: Locator) -> bytes:
    from PIL import Image

    return Image.open(io.BytesIO(frame.screenshot())).resize((64, 64)).tobytes()


def test_a_text_result_shows_answers_side_by_side(visitor: Tab, plant: Plant, text_job: str) -> None:
    page = visitor.open(f"/adapters/{text_job}")
    expect(page.get_by_role("heading", name="my-voice")).to_be_visible()
    first = next(row for row in listed(plant, text_job, "samples") if row["step"] == 0)
    expect(page.get_by_text(first["prompt"]).first).to_be_visible()


def test_files_that_are_there_twice_are_named_and_left_out_at_a_touch(visitor: Tab, plant: Plant) -> None:
    job = plant.finished(plant.create(plant.send("twins", range(8)), "tiny-images", "twins"))
    twice = [row["name"] for row in plant.job(job)["bat"]["references"] if row["verdict"] == "duplicate"]
    page = visitor.open(f"/adapters/{job}")
    for name in twice:
        expect(page.get_by_role("note")).to_contain_text(name)
    visitor.press(re.compile("^Make it again without"))
    expect(page.get_by_role("heading", name=re.compile(rf"^{8 - len(twice)} pictures"))).to_be_visible()
    expect(page.get_by_label("A name")).to_have_value("twins")
    assert twice


def test_an_erased_adapter_is_gone_everywhere_and_leaves_a_receipt(browser: Browser, plant: Plant) -> None:
    file = plant.send("marked", range(4))
    job = plant.create(file, "tiny-images", "to-erase")
    with plant.http() as http:
        assert http.post(f"{JOBS}/{job}/cancel").status_code == 200
    plant.wait(job)
    with visited(browser, plant.address, plant.key) as tab:
        page = tab.open(f"/adapters/{job}")
        tab.press("Erase this adapter")
        go = page.get_by_role("button", name="Erase for good")
        expect(go).to_be_disabled()
        tab.write("Type to-erase to confirm", "to-eras")
        expect(go).to_be_disabled()
        tab.write("Type to-erase to confirm", "to-erase")
        page.get_by_role("checkbox").check()
        go.click()
        receipt = save(page, page.get_by_role("button", name="Save the receipt"))
        assert job.encode() in receipt
        assert b"signature" in receipt
        with plant.http() as http:
            assert http.get(f"{JOBS}/{job}").status_code == 404
            assert http.get(f"/v1/files/{file}").status_code == 404
        page.reload()
        expect(page.get_by_role("heading", name=re.compile("nothing here"))).to_be_visible()
        tab.expect("status of 404")
