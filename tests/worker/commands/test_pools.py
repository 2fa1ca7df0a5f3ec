"""`albatross pools build --generate` writes texts with any text backbone, or says why it can't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.backbones.record import BackboneRecord, describe
from core.errors import InvalidInput
from core.method.protection.own import FEWEST_WORDS, OPENINGS
from core.parameters.request import BatRequest
from core.settings import Settings
from tests.word_backbones import write_word_folder
from tests.worker.floor import register, run_module
from worker.commands.pools import own_samples, write_generated
from worker.supervision.pool_encoding import PoolEncoding


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


@pytest.mark.slow
def test_samples_of_a_backbones_own_are_made_ahead_of_time_and_found_by_a_job_of_that_size(tmp_path: Path) -> None:
    record = backbone_of_words(tmp_path / "words").model_copy(update={"id": "tiny"})
    data = register(record, tmp_path / "data")
    done = run_module("worker.commands.pools", data, "own", "tiny", "--max-tokens", "64")
    assert done.returncode == 0, done.stderr
    assert "tiny writes 64 texts of its own" in done.stderr
    kept = {path.name: path.stat().st_mtime_ns for path in (data / "pools").iterdir()}
    assert sorted(name.split("-")[1] for name in kept) == ["own", "own", "ready"]  # samples, and their encoding
    again = run_module("worker.commands.pools", data, "own", "tiny", "--max-tokens", "64")
    assert again.returncode == 0, again.stderr
    assert "of its own" not in again.stderr
    parameters = own_samples(record, BatRequest(protect_on="own", max_tokens=64), Settings(data=data))
    assert not PoolEncoding(record, parameters.parameters, parameters.day, Settings(data=data)).missing


@pytest.mark.slow
def test_the_command_says_what_a_backbone_can_not_be_asked_for(tmp_path: Path) -> None:
    data = register(backbone_of_words(tmp_path / "words").model_copy(update={"id": "tiny"}), tmp_path / "data")
    done = run_module("worker.commands.pools", data, "own", "tiny", "--resolution", "64")
    assert done.returncode == 1
    assert "resolution" in done.stderr
