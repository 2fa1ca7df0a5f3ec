"""A pool is counted by its index alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

from core.backbones.introductions import PoolFacts, pool_facts
from core.backbones.registry import Registry
from core.settings import Settings

RECORD = Registry.load(Settings()).get("emoji-ldm")


def write(index: Path, *splits: str) -> None:
    rows = [{"id": str(n), "split": split, "licence": "MIT"} for n, split in enumerate(splits)]
    index.write_text("\n".join(map(json.dumps, rows)))


def test_the_demo_s_pool_has_the_pictures_that_the_documents_name() -> None:
    assert pool_facts(RECORD) == PoolFacts(434, 16, ("Apache-2.0",))


def test_a_backbone_without_a_pool_has_nothing_to_draw_on() -> None:
    assert pool_facts(RECORD.model_copy(update={"pool": None})) == PoolFacts()


def test_of_a_pool_that_is_elsewhere_or_damaged_nothing_is_known(tmp_path: Path) -> None:
    record = RECORD.model_copy(update={"pool": tmp_path})
    assert pool_facts(record) is None
    (tmp_path / "index.jsonl").write_text("{")
    assert pool_facts(record) is None


def test_a_pool_that_grows_is_counted_anew(tmp_path: Path) -> None:
    record, index = RECORD.model_copy(update={"pool": tmp_path}), tmp_path / "index.jsonl"
    write(index, "candidate", "probe")
    assert pool_facts(record) == PoolFacts(1, 1, ("MIT",))
    write(index, "candidate", "candidate", "probe")
    os.utime(index, ns=(1, 1))
    assert pool_facts(record) == PoolFacts(2, 1, ("MIT",))
