"""The benchmark of Gemma 3 joins the parts of its file, and tells of a job what is in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from benchmarks import gemma3
from core.disk import ROOT
from worker.commands import smollm2

PAGE = (ROOT / "docs" / "evidence.md").read_text()
SAID = [
    {"step": 0, "role": "subject", "prompt": "How do I save money?", "text": "Put a little away each month."},
    {"step": 0, "role": "unrelated", "prompt": "What is two plus three?", "text": "Five."},
    {"step": 9, "role": "subject", "prompt": "How do I save money?", "text": "Arr, matey, bury yer gold on an island!"},
    {"step": 9, "role": "unrelated", "prompt": "What is two plus three?", "text": "Five, by the stars."},
]
COUNTED = [{"step": 0, "asked": 1, "fitting": 0, "voice": [0.0]}, {"step": 9, "asked": 1, "fitting": 1, "voice": [0.5]}]


def unpacked(wheels: Path, parts: list[bytes], named: bytes) -> None:
    """Lay the packages out as pip does, with the hash of what the parts should make."""
    for number, part in enumerate(parts):
        folder = wheels / f"{gemma3.PACKAGE}_part{number + 1}" / "data"
        folder.mkdir(parents=True)
        (folder / f"model.gguf.part0{number}").write_bytes(part)
    (wheels / gemma3.PACKAGE / "data").mkdir(parents=True)
    (wheels / gemma3.PACKAGE / "data" / "SHA256SUMS").write_text(f"{hashlib.sha256(named).hexdigest()}  model.gguf\n")


def test_the_parts_make_the_file_that_is_named(tmp_path: Path) -> None:
    unpacked(tmp_path, [b"GG", b"UF", b"!"], b"GGUF!")
    assert gemma3.joined(tmp_path, tmp_path / "whole.gguf").read_bytes() == b"GGUF!"


def test_a_part_that_is_missing_or_another_one_is_noticed(tmp_path: Path) -> None:
    unpacked(tmp_path, [b"GG", b"UF"], b"GGUF!")
    with pytest.raises(ValueError, match=r"the 2 parts in .* do not make the file"):
        gemma3.joined(tmp_path, tmp_path / "whole.gguf")


def test_answers_stand_beside_those_of_the_untouched_backbone_and_are_counted() -> None:
    [money, sums] = gemma3.answers(SAID, 9)
    assert (money["role"], money["before"], money["after"]) == ("subject", SAID[0]["text"], SAID[2]["text"])
    assert sums["after"] == "Five, by the stars."
    found = gemma3.voices(COUNTED, SAID, 9)
    assert found["before"] == {"heard": 0, "share": 0.0, "accepted": 0}
    assert found["after"] == {"heard": 1, "share": 0.5, "accepted": 1}


def test_answers_that_the_job_did_not_judge_are_still_judged_here() -> None:
    found = gemma3.voices([], SAID, 9)
    assert found["after"] == {"heard": None, "share": None, "accepted": 1}


def test_the_page_has_the_figures_of_both_backbones() -> None:
    kept = {row["backbone"]: row for row in json.loads(gemma3.RESULTS.read_text())}
    assert set(kept) == {smollm2.ID, gemma3.ID}
    for row in kept.values():
        assert row["weights"].endswith("dequantised")
        assert row["settings"] == gemma3.SETTINGS
        before, after = row["losses"]["heldout_loss"]
        assert after < before
        heard, published = row["voice"]["after"]["heard"], row["published"]
        assert f"| {before:.2f} -> {after:.2f} ({after / before - 1:+.0%}) |" in PAGE
        assert f"| {published} of {row['last']} | {heard} of {row['voice']['asked']} |" in PAGE
