"""Samples on the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.serializers.samples import sample_object
from core.settings import Settings
from core.storage.factory import storage


def test_two_samples_of_one_prompt_are_told_apart_and_each_is_found_again_at_every_step(tmp_path: Path) -> None:
    """Two conversations that end with the same question, at two steps."""
    store = storage(Settings(data=tmp_path))
    rows = [
        {"id": f"{step}-{number}", "step": step, "role": "subject", "prompt": "Why?", "text": f"{step} {number}"}
        for step in (0, 40)
        for number in (0, 1, 11)
    ]
    found = [sample_object(store, "ftjob-1", row, {}) for row in rows]
    assert [(one.step, one.number) for one in found] == [(0, 0), (0, 1), (0, 11), (40, 0), (40, 1), (40, 11)]


@pytest.mark.parametrize("identifier", ["3", "a-b", "1-2-3", ""])
def test_a_sample_of_an_older_version_has_no_number(tmp_path: Path, identifier: str) -> None:
    row = {"id": identifier, "step": 0, "prompt": "Why?", "text": "So."}
    assert sample_object(storage(Settings(data=tmp_path)), "ftjob-1", row, {}).number is None
