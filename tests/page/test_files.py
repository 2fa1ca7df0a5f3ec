"""What visitors give to the page: good files, bad ones among them, and what they type beside them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.api.server import chats
from tests.page.browser import ITEMS, Tab, number
from tests.page.references import captioned, file, packed, picture, pictures, texts

pytestmark = pytest.mark.slow


def caption(page: Page, name: str):
    return page.get_by_label(f"What {name} shows")


def test_a_zip_brings_its_captions(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give([captioned(4)])
    number(page, "4 pictures")
    expect(caption(page, "2.png")).to_have_value("sks cat number 2")


def test_texts_among_pictures_are_told_of_and_the_pictures_are_taken(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give([*pictures(3), *texts(3)])
    number(page, "3 pictures")
    expect(page.get_by_text("0.txt, 1.txt, 2.txt")).to_be_visible()


def test_pictures_and_conversations_together_are_told_in_words(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give([*pictures(3), file("pirate.jsonl", chats(), "application/jsonl")])
    expect(page.get_by_text(re.compile("holds no captions that can be read: pirate.jsonl")).first).to_be_visible()
    tab.expect()


def test_texts_do_not_join_pictures_that_are_there(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(pictures(3))
    number(page, "3 pictures")
    tab.give(texts(2), "Add more")
    expect(page.get_by_role("alert")).to_be_visible()
    number(page, "3 pictures")
    tab.expect()


def test_what_no_one_can_read_is_left_out_by_name_and_the_rest_goes_on(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give([*pictures(4), file("notes.png", b"no picture at all", "image/png")])
    number(page, "4 pictures")
    expect(page.get_by_text("notes.png").first).to_be_visible()
    tab.expect()


def test_a_file_that_holds_nothing_readable_is_refused_and_another_may_follow(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give([file("thing.bin", bytes(range(256)))])
    expect(page.get_by_role("alert")).to_be_visible()
    tab.expect()
    tab.give(pictures(3))
    number(page, "3 pictures")


def test_a_zip_among_pictures_brings_its_own(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give([*pictures(3), packed({"deep.png": picture(30), "high.png": picture(31)})])
    number(page, "5 pictures")
    tab.give([packed({"late.png": picture(32)}), file("later.png", picture(33), "image/png")], "Add more")
    number(page, "7 pictures")


def test_several_faults_stand_on_lines_of_their_own(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give([file("talks.jsonl", b'{"messages": []}\n' * 3, "application/jsonl")])
    told = page.get_by_role("alert")
    expect(told).to_contain_text("There are 3 faults")
    assert told.inner_text().splitlines()[1].startswith("- Line 1")
    tab.expect()


def test_more_files_join_those_that_are_there(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(pictures(3))
    number(page, "3 pictures")
    tab.give([file("late.png", picture(30), "image/png")], "Add more")
    number(page, "4 pictures")


def test_leaving_one_out_keeps_the_captions_of_the_others(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(pictures(4))
    number(page, "4 pictures")
    for name in ("cat-1.png", "cat-2.png", "cat-3.png"):
        caption(page, name).fill(f"words for {name}")
    page.get_by_role("listitem").filter(has_text="cat-1.png").get_by_role("button", name="Leave out").click()
    number(page, "3 pictures")
    for name in ("cat-2.png", "cat-3.png"):
        expect(caption(page, name)).to_have_value(f"words for {name}")
    expect(caption(page, "cat-1.png")).to_have_count(0)
    page.reload()
    expect(caption(page, "cat-3.png")).to_have_value("words for cat-3.png")


def test_two_that_are_left_out_at_once_are_the_two_that_were_meant(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(pictures(5))
    number(page, "5 pictures")
    out = """() => {
      for (const card of document.querySelectorAll("li.item"))
        for (const button of card.querySelectorAll("button"))
          if (/cat-[13]/.test(card.textContent) && button.textContent === "Leave out") {
            button.click();
            button.click();
          }
    }"""
    page.evaluate(out)
    number(page, "3 pictures")
    for name, there in (("cat-0.png", 1), ("cat-1.png", 0), ("cat-2.png", 1), ("cat-3.png", 0), ("cat-4.png", 1)):
        expect(caption(page, name)).to_have_count(there)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_job_has_the_captions_that_no_field_was_left_with(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(pictures(3))
    number(page, "3 pictures")
    caption(page, "cat-1.png").fill("a cat on a boat")
    page.reload()
    number(page, "3 pictures")
    caption(page, "cat-2.png").fill("a cat in a box")
    tab.press("Make the adapter")
    page.wait_for_url(re.compile("/adapters/ftjob-"))
    items = page.evaluate(ITEMS, page.url.rpartition("/")[2])
    assert [item["caption"] for item in items] == [None, "a cat on a boat", "a cat in a box"]


def test_files_that_were_being_sent_when_the_form_was_left_are_there_when_it_is_opened_again(tab: Tab) -> None:
    page = tab.open("/new")
    held: list[Route] = []
    page.route("**/v1/files", lambda route: held.append(route))
    tab.give(pictures(3))
    expect(page.get_by_role("progressbar")).to_be_visible()
    tab.press("Your adapters", "link")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    tab.press("New adapter", "link")
    expect(page.get_by_role("progressbar")).to_be_visible()
    held[0].continue_()
    number(page, "3 pictures")
    page.reload()
    number(page, "3 pictures")


def test_a_service_that_asks_for_patience_gets_it(tab: Tab) -> None:
    page = tab.open("/")
    busy = {"error": {"message": "Too quick.", "code": "rate_limited"}}
    answers = iter([True, True, False])
    path = re.compile("/v1/models")
    page.route(
        path,
        lambda route: (
            route.fulfill(status=429, headers={"retry-after": "1"}, json=busy) if next(answers) else route.continue_()
        ),
    )
    tab.press("New adapter", "link")
    tab.give(pictures(3))
    expect(page.get_by_role("group", name="Which model should learn it?")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    tab.expect()


def test_a_reload_loses_nothing_that_was_typed_or_chosen(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(pictures(3))
    number(page, "3 pictures")
    caption(page, "cat-0.png").fill("left, so it is saved")
    caption(page, "cat-1.png").press_sequentially("still being typ")
    tab.write("A word that calls it", "mokka9")
    tab.write("A name", "my-cat")
    page.get_by_role("radio", name=re.compile("A way of drawing")).check()
    caption(page, "cat-1.png").focus()
    page.reload()
    number(page, "3 pictures")
    expect(caption(page, "cat-0.png")).to_have_value("left, so it is saved")
    expect(caption(page, "cat-1.png")).to_have_value("still being typ")
    expect(page.get_by_label("A word that calls it")).to_have_value("mokka9")
    expect(page.get_by_label("A name")).to_have_value("my-cat")
    expect(page.get_by_role("radio", name=re.compile("A way of drawing"))).to_be_checked()


def test_the_papers_settings_are_no_choice_but_stay_that_of_a_job_that_is_asked_for_again(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(pictures(3))
    choices = page.get_by_role("group", name="What do they have in common?").get_by_role("radio")
    expect(choices).to_have_count(3)
    write = "JSON.stringify({...JSON.parse(sessionStorage['albatross.new']), preset: 'paper-image'})"
    page.evaluate(f"sessionStorage['albatross.new'] = {write}")
    page.reload()
    expect(choices).to_have_count(4)
    expect(page.get_by_role("radio", name=re.compile("as in the papers"))).to_be_checked()


def test_captions_reach_the_service_when_the_field_is_left(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(pictures(3))
    number(page, "3 pictures")
    caption(page, "cat-0.png").fill("a cat on a boat")
    caption(page, "cat-1.png").focus()
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    page.evaluate("sessionStorage.removeItem('albatross.captions')")
    page.reload()
    expect(caption(page, "cat-0.png")).to_have_value("a cat on a boat")


def test_starting_over_drops_everything_once_it_is_confirmed(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(texts(3))
    number(page, "3 texts")
    status = """async (file) => (await fetch(`/v1/files/${file}`, { headers: { authorization: `Bearer ${
      sessionStorage.getItem("albatross.key")}` } })).status"""
    file_id = page.evaluate("JSON.parse(sessionStorage.getItem('albatross.new')).file")
    assert page.evaluate(status, file_id) == 200
    page.once("dialog", lambda dialog: dialog.accept())
    tab.press("Start over")
    expect(page.get_by_text("Drop pictures or texts here")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert page.evaluate(status, file_id) == 404
    tab.expect("status of 404")
    page.reload()
    expect(page.get_by_text("Drop pictures or texts here")).to_be_visible()


def test_a_setting_that_the_service_refuses_says_so_and_keeps_the_files(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give([packed({"a/0.png": picture(0), "b/1.png": picture(1), "b/1.txt": "a cat"})])
    number(page, "2 pictures")
    page.get_by_text("Settings for those who know them").click()
    page.get_by_label("rank", exact=True).fill("100000")
    expect(page.get_by_role("alert").first).to_be_visible()
    tab.expect()
    page.get_by_label("gamma", exact=True).press_sequentially("0.05")
    expect(page.get_by_label("gamma", exact=True)).to_have_value("0.05")
    page.get_by_label("rank", exact=True).fill("")
    expect(page.get_by_role("alert")).to_have_count(0)
    with page.expect_request(re.compile("estimate$")) as asked:
        page.get_by_label("gamma", exact=True).fill("natural")
    assert asked.value.post_data_json["bat"]["gamma"] == "natural"
    expect(page.get_by_role("alert")).to_have_count(0)
    number(page, "2 pictures")
