"""`albatross pools build --generate` writes texts with any text backbone, or says why it can't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.backbones.record import BackboneRecord, describe
from core.errors import InvalidInput
from core.method.protection.own import FEWEST_WORDS, OPENINGS
from tests.word_backbones import write_word_folder
from worker.commands.pools import write_generated


def backbone_of_words(folder: Path, ends: str = ".!?") -> BackboneRecord:
    return describe("words", write_word_folder(folder, ends), licence="CC0")


def test_a_backbone_without_a_token_for_padding_writes_candidates(tmp_path: Path) -> None:
    pool = write_generated(backbone_of_words(tmp_path / "words"), 20, 7, tmp_path / "pool")
    rows = [json.loads(line) for line in (pool / "index.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    assert all(len(row["text"].split()) >= FEWEST_WORDS and row["text"][-1] in ".!?" for row in rows)
    assert all(any(row["text"].startswith(opening) for opening in OPENINGS) for row in rows)
    again = write_generated(backbone_of_words(tmp_path / "again"), 20, 7, tmp_path / "other")
    assert [json.loads(line)["text"] for line in (again / "index.jsonl").read_text().splitlines()] == [
        row["text"] for row in rows
    ]


def test_a_backbone_that_ends_no_sentence_is_told_of_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    record = backbone_of_words(tmp_path / "endless", ends="")
    with pytest.raises(InvalidInput, match=r"no full sentence of 12 words; 0 of 5 were written before\."):
        write_generated(record, 5, 7, tmp_path / "pool")
    assert not (tmp_path / "pool").exists()
