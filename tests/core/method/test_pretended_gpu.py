"""The method on a device that does not exist: what a GPU would refuse is refused here too, and its waits are counted.

A process that has registered the device keeps it, so it runs in one of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from core.disk import ROOT

Results = dict[str, dict[str, Any]]
# of the host for the device, at most; a step's own is one, for its losses and norms together
MOST_WAITS = {
    "texts": {"step": 7, "distilled": 15, "score": 6, "cs": 1},
    "images": {"step": 8, "distilled": 13, "score": 5, "cs": 1},
}
REFUSED = {"score by fisher_full"}  # texts say that it is not for them


def tried(family: str, *more: str) -> Results:
    command = [sys.executable, "-m", "tests.core.method.pretended_gpu.attempts", family, *more]
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module", params=["texts", pytest.param("images", marks=pytest.mark.slow)])
def seen(request: pytest.FixtureRequest) -> tuple[str, Results]:
    return request.param, tried(request.param)


def failures(results: Results) -> dict[str, str]:
    return {name: row["error"] for name, row in results.items() if not row["ok"] and name not in REFUSED}


def test_nothing_mixes_devices(seen: tuple[str, Results]) -> None:
    assert failures(seen[1]) == {}


def test_a_step_waits_no_more_than_it_did(seen: tuple[str, Results]) -> None:
    family, results = seen
    most = MOST_WAITS[family]
    assert results["one step, three folds"]["waits"] <= most["step"]
    assert results["one step, three folds"]["waits"] == results["one step, one run"]["waits"]  # folds cost none
    assert results["one step, distilled"]["waits"] <= most["distilled"]
    assert results["score 16, one draw"]["waits"] <= most["score"]
    assert results["CS, once"]["waits"] <= most["cs"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["texts", "images"])
def test_no_whole_stage_mixes_devices(family: str) -> None:
    assert failures(tried(family, "--whole")) == {}
