"""One whole experiment on the small language model, with almost no pre-training: every arm, every rule, twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import nano
from benchmarks.method import experiment, settings
from benchmarks.world import Setting

SETTING = Setting("nano", "dialect", 8, 4e-3, 0, "shuffled")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(nano, "PRETRAINING_STEPS", 20)
    monkeypatch.setattr(nano, "HORIZON", 24)


def without_times(result: dict) -> dict:
    return {name: [{k: v for k, v in row.items() if k != "seconds"} for row in rows] for name, rows in result.items()}


@pytest.mark.long
def test_an_experiment_compares_all_arms_by_all_rules_and_repeats_exactly(short: None, tmp_path: Path) -> None:
    result = experiment(SETTING, tmp_path)
    rows = result["records"]
    arms = {row["arm"] for row in rows}
    assert {"none", "auto", "random .5", "influence .25", "oracle .5", "kolossov_bartlett .5", "quarter"} <= arms
    wanted = {"horizon", "cluster", "kind", "protect", "protect_weight", "protect_on", "best_at_end"}
    rules = {row["rule"] for row in rows if row["arm"] == "none"}
    assert {"auto", "matched loss K=2", "paper CS M=10", "permuted CS M=10", "fixed 2M, M=10", "never"} <= rules
    assert {"one split, retrained", "random step"} <= rules
    assert all(row["heldout_at_stop"] == row["heldout_best"] for row in rows if row["rule"] == "oracle")
    assert all(row["stop_step"] <= row["end_step"] <= 24 for row in rows if row["rule"] == "auto")
    assert all(1 <= row["stop_step"] <= 24 and row["heldout_at_stop"] >= row["heldout_best"] - 1e-4 for row in rows)
    assert all(wanted <= row.keys() for row in rows)
    (curve,) = (curve for curve in result["curves"] if curve["arm"] == "influence .5")
    assert len(curve["heldout"]) == len(curve["probe"]) == len(curve["steps"])
    assert curve["steps"][-1] == curve["horizon"] == 24
    (facts,) = result["facts"]
    assert facts["shuffled_share"]["oracle"] == 0
    assert facts["right_share"]["oracle"] == pytest.approx(12)
    assert set(facts["trials"]) == {"0.25", "0.5"}
    assert without_times(experiment(SETTING, tmp_path)) == without_times(result)


def test_the_settings_cover_what_the_table_claims() -> None:
    every = list(settings("nano", None, quick=False))
    assert {setting.n for setting in every} == {4, 8, 16}
    rates = {setting.learning_rate for setting in every}
    assert max(rates) / min(rates) >= 8 - 1e-9
    assert len({setting.seed for setting in every}) >= 3
    assert len({setting.key for setting in every}) == len(every)
