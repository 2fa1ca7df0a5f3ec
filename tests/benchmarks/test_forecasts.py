"""What is said of a forecast's interval, counted again on the records."""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from benchmarks.tables.page import read_study
from benchmarks.tables.scores import forecasts, holds
from core.disk import ROOT

CLAIMS = json.loads((ROOT / "benchmarks/results/claims.json").read_text())["forecasts"]
FOUND = forecasts(CLAIMS, read_study())


@pytest.mark.parametrize("name", ["small LM, seeds 0 to 5", "small LM, seeds from 6 on"])
def test_the_interval_of_a_forecast_holds_what_unseen_data_gained_in_about_nine_of_ten_runs(name: str) -> None:
    assert len(FOUND[name]) >= 48
    assert 0.85 <= fmean(map(holds, FOUND[name])) <= 0.95
