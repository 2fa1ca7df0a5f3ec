"""The study of ways to protect a backbone: one whole experiment on a text set, with a tiny model for the real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import smollm2
from benchmarks.protection import means
from benchmarks.protection.experiment import experiment
from benchmarks.texts import family
from benchmarks.world import Setting
from tests.word_backbones import write_words
from worker.commands.smollm2 import POOL

CHAT = "{% for message in messages %}{{ message['role'] }} : {{ message['content'] }} . {% endfor %}"


@pytest.mark.slow
def test_every_arm_of_texts_trains_from_one_start_and_says_what_protected_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = write_words(tmp_path / "words", template=CHAT)
    record = SimpleNamespace(id="words", kind="texts", pool=POOL)
    monkeypatch.setattr(family, "loaded", lambda *_: (record, words))
    monkeypatch.setattr(smollm2, "world", replace(smollm2.FAMILY, horizon=8, surrogate_steps=8, candidates=24).world)
    monkeypatch.setattr(smollm2, "PICTURED_STEPS", ())
    found = experiment(Setting("smollm2", "kettle", 8, 2e-3, 0), tmp_path, means.TEXTS)
    rows = {row["arm"]: row for row in found["records"]}
    assert list(rows) == [arm.name for arm in means.TEXTS]
    assert len({row["heldout"][0] for row in rows.values()}) == 1
    assert [row["protect_on"] for row in rows.values() if row["protect"] == "distil"] == ["pool", "pool", "own"]
    assert all(row["kept"]["unrelated"]["8"] > 0 for row in rows.values())
