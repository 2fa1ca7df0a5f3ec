"""Candidate pools: what is replayed, what is kept apart, and that nothing is encoded twice."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.backbones.record import BackboneRecord, describe
from core.backbones.registry import Registry
from core.disk import ROOT
from core.errors import JobFailure
from core.method.backbones.texts.language import LanguageBackbone
from core.method.protection.own import to_last_sentence
from core.settings import Settings
from tests.tiny_backbones import LLAMA_TARGETS
from worker.stages import pool as pools_pool

ROWS = [
    {"id": "a", "text": "a plain text.", "source": "one", "licence": "CC0", "split": "candidate"},
    {
        "id": "b",
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
        "source": "two",
        "licence": "CC0",
        "split": "candidate",
    },
    {"id": "c", "text": "kept apart.", "source": "one", "licence": "CC0", "split": "probe"},
]


@pytest.fixture
def record(tiny_language_folder: Path, tmp_path: Path) -> BackboneRecord:
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return describe("tiny", tiny_language_folder, licence="CC0", pool=pool)


@pytest.fixture
def backbone(tiny_language_folder: Path) -> LanguageBackbone:
    return LanguageBackbone.load(tiny_language_folder, max_tokens=24, target_modules=LLAMA_TARGETS)


def loaded(record: BackboneRecord) -> pools_pool.Pool:
    pool = pools_pool.load(record)
    assert pool is not None
    return pool


def test_a_pool_of_pictures_is_refused_for_a_backbone_of_texts_and_the_other_way(record: BackboneRecord) -> None:
    with pytest.raises(JobFailure, match="tiny learns from images, and its candidate pool holds something else"):
        pools_pool.load(record.model_copy(update={"family": "sd1"}))


def test_the_probe_is_never_replayed(record: BackboneRecord) -> None:
    pool = loaded(record)
    assert [candidate.id for candidate in pool.candidates] == ["a", "b"]
    assert [candidate.id for candidate in pool.probe] == ["c"]
    assert pool.candidates[1].words == "user: hi\nassistant: hello"


def test_a_backbone_without_a_pool_has_none(record: BackboneRecord) -> None:
    assert pools_pool.load(record.model_copy(update={"pool": None})) is None


def test_the_demo_images_come_with_their_captions(tmp_path: Path) -> None:
    pool = loaded(Registry.load(Settings(data=tmp_path)).get("emoji-ldm"))
    assert len(pool.candidates) > 400
    assert len(pool.probe) >= 16
    assert pool.candidates[0].png is not None
    assert pool.candidates[0].item["image"].mode == "RGB"
    assert pool.candidates[0].words.startswith("emoji of ")


def test_the_text_pool_is_wide_licensed_and_without_repeats(record: BackboneRecord) -> None:
    pool = loaded(record.model_copy(update={"pool": ROOT / "demo/texts/pool.jsonl"}))
    everything = [*pool.candidates, *pool.probe]
    assert len(pool.candidates) >= 300
    assert len(pool.probe) >= 16
    assert len({candidate.source for candidate in everything}) >= 8
    assert len({candidate.id for candidate in everything}) == len(everything)
    assert len({candidate.words for candidate in everything}) == len(everything)
    assert all(candidate.licence for candidate in everything)


@pytest.mark.parametrize("content", ["{", '{"id": "a"}\n', '{"id": "a", "file": "a.png", "split": "candidate"}\n'])
def test_a_broken_pool_ends_the_job_with_a_reason(record: BackboneRecord, content: str) -> None:
    assert record.pool is not None
    (record.pool / "index.jsonl").write_text(content)
    with pytest.raises(JobFailure) as failure:
        pools_pool.load(record)
    assert failure.value.code == "backbone_unavailable"


def test_an_encoding_is_read_back_instead_of_made_again(
    record: BackboneRecord, backbone: LanguageBackbone, tmp_path: Path
) -> None:
    pool = loaded(record)
    file = pools_pool.cache_file(tmp_path / "cache", record, pool, "candidate", "24")
    first = pools_pool.encode(backbone, pool.candidates, file)
    written = file.stat().st_mtime_ns
    again = pools_pool.encode(backbone, [], file)  # nothing to encode: only the file can answer
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert file.stat().st_mtime_ns == written
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_another_backbone_pool_split_or_length_is_another_file(record: BackboneRecord, tmp_path: Path) -> None:
    pool = loaded(record)
    files = {
        pools_pool.cache_file(tmp_path, record, pool, "candidate", "24"),
        pools_pool.cache_file(tmp_path, record, pool, "probe", "24"),
        pools_pool.cache_file(tmp_path, record, pool, "candidate", "48"),
        pools_pool.cache_file(tmp_path, record, replace(pool, sha256="other"), "candidate", "24"),
        pools_pool.cache_file(tmp_path, record.model_copy(update={"revision": "2"}), pool, "candidate", "24"),
    }
    assert len(files) == 5


@pytest.mark.parametrize(
    ("text", "kept"), [("One. Two\nthree! and f", "One. Two three!"), ("No end", ""), ("Is it? Yes", "Is it?")]
)
def test_a_text_is_cut_behind_its_last_sentence(text: str, kept: str) -> None:
    assert to_last_sentence(text) == kept


@pytest.mark.slow
def test_the_command_lists_pools_and_names_an_unknown_backbone(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "worker.commands.pools", *arguments, "--data", str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert "emoji-ldm" in run("list").stdout
    unknown = run("build", "nothing")
    assert unknown.returncode == 1
    assert "no such backbone" in unknown.stderr
