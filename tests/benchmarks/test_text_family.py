"""One whole experiment on a text set, with a tiny model in the place of the real one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import smollm2
from benchmarks.method import experiment
from benchmarks.texts import answers, family
from benchmarks.world import Setting
from core.method.backbones.texts.language import LanguageBackbone
from worker.commands.smollm2 import POOL


@pytest.mark.slow
def test_an_experiment_measures_behaviour_and_keeps_answers(
    tiny_language: LanguageBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = SimpleNamespace(id="tiny", kind="texts", pool=POOL)
    monkeypatch.setattr(family, "loaded", lambda *_: (record, tiny_language))
    small = replace(smollm2.FAMILY, horizon=8, surrogate_steps=8, candidates=24)
    monkeypatch.setattr(smollm2, "world", small.world)
    monkeypatch.setattr(smollm2, "pictures", small.pictures)
    monkeypatch.setattr(smollm2, "PICTURED_STEPS", (4, 8))
    setting = Setting("smollm2", "kettle", 8, 2e-3, 0)
    result = experiment(setting, tmp_path)
    curves = {row["arm"]: row for row in result["curves"]}
    assert set(curves) == set(smollm2.ARMS)
    for row in curves.values():
        assert row["kind"] == "facts"
        assert row["kept"][0] == pytest.approx(0, abs=1e-6)
        assert min(row["kept"][-1], row["kept_own"][-1]) > 0
    assert all("kept_own_at_best" in row for row in result["records"])
    kept = json.loads(answers.file_of(tmp_path, setting.key).read_text())
    assert {row["step"] for row in kept["rows"]} == {0, 4, 8}
    assert len(kept["asked"]) == answers.NEW + answers.UNRELATED_ASKED
