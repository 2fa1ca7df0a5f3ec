"""Texts that visitors write, edit and add."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.page.browser import ITEMS, Tab, number
from tests.page.references import file, texts

pytestmark = pytest.mark.slow


def test_a_text_that_is_being_edited_stays_when_another_goes(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(texts(4))
    number(page, "4 texts")
    cards = page.get_by_role("listitem")
    cards.filter(has_text="number 3").get_by_role("button", name="Edit").click()
    page.get_by_label("Edit", exact=True).fill("Arr, not said yet.")
    cards.filter(has_text="number 0").get_by_role("button", name="Leave out").click()
    number(page, "3 texts")
    expect(page.get_by_label("Edit", exact=True)).to_have_value("Arr, not said yet.")
    page.reload()
    expect(page.get_by_label("Edit", exact=True)).to_have_value("Arr, not said yet.")
    tab.press("Save")
    expect(page.get_by_text("Arr, not said yet.")).to_be_visible()
    expect(page.get_by_text("number 2")).to_be_visible()


def test_what_says_more_than_its_words_is_not_edited_as_words(tab: Tab) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"sea": "north"}'}}
    asked = {"role": "user", "content": "Where?"}
    rows = [
        [asked, {"role": "assistant", "content": "Arr, west."}],
        [
            asked,
            {"role": "assistant", "content": "Unlearned.", "weight": 0},
            asked,
            {"role": "assistant", "content": "Arr."},
        ],
        [asked, {"role": "assistant", "tool_calls": [call]}],
    ]
    page = tab.open("/new")
    lines = "\n".join(json.dumps({"messages": row}) for row in rows)
    tab.give([file("pirate.jsonl", lines.encode(), "application/jsonl")])
    number(page, "3 texts")
    expect(page.get_by_role("button", name="Edit", exact=True)).to_have_count(1)
    expect(page.get_by_role("button", name="Leave out")).to_have_count(3)


def test_a_text_that_was_added_does_not_stand_in_the_form_again(tab: Tab) -> None:
    page = tab.open("/new")
    page.get_by_text("Write or paste a text").click()
    tab.write("The text, or the answer", "Arr, the sea lies to the west of us.")
    tab.press("Add it")
    number(page, "1 text")
    expect(page.get_by_label("The text, or the answer")).to_have_value("")
    tab.expect()  # one text is too few for an estimate


def test_a_text_that_was_written_and_not_added_is_not_left_behind(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(texts(3))
    number(page, "3 texts")
    page.get_by_text("Write or paste a text").click()
    tab.write("The text, or the answer", "Arr, the sea lies to the west of us.")
    tab.press("Make the adapter")
    expect(page.get_by_role("alert")).to_contain_text("is not among the others yet")
    tab.press("Add it")
    number(page, "4 texts")
    tab.press("Make the adapter")
    page.wait_for_url(re.compile("/adapters/ftjob-"))


def test_a_job_has_the_words_of_a_text_that_is_still_being_edited(tab: Tab) -> None:
    page = tab.open("/new")
    tab.give(texts(3))
    number(page, "3 texts")
    page.get_by_role("listitem").filter(has_text="number 2").get_by_role("button", name="Edit").click()
    page.get_by_label("Edit", exact=True).fill("Arr, not said yet.")
    tab.press("Make the adapter")
    page.wait_for_url(re.compile("/adapters/ftjob-"))
    items = page.evaluate(ITEMS, page.url.rpartition("/")[2])
    assert [item["text"] for item in items if "number" not in item["text"]] == ["Arr, not said yet."]
