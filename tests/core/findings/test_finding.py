"""What a trainer sends as a finding is taken only where it is one."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from core.findings.finding import MAX_CHARACTERS, MAX_ITEMS, Finding, from_wire

SAID = {"code": "cut_off", "message": "Two are cut.", "fix": "Cut them yourself.", "item": "a.png"}


def test_a_finding_comes_back_from_json_as_it_was() -> None:
    finding = Finding(**SAID, items=["a.png", "b.png"])
    assert from_wire(json.loads(json.dumps(asdict(finding)))) == finding
    assert from_wire(SAID) == Finding(**SAID)


@pytest.mark.parametrize(
    "items", ["a.png", {"a.png": 1}, [7], [None], [["a.png"]], ["x" * (MAX_CHARACTERS + 1)], ["a"] * (MAX_ITEMS + 1)]
)
def test_items_that_are_no_list_of_names_make_no_finding(items: object) -> None:
    assert from_wire({**SAID, "items": items}) is None
