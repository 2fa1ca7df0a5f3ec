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
# what the host waits for once: for numbers that it reads, after all of them are known
ONE_WAIT = (
    "one step, one run",
    "one step, distilled",
    "one step, three folds",
    "one step, three folds, two pieces",
    "evaluate three folds",
    "distance",
    "per-sample gradients",
    "snapshot",
    "state of training",
    "score 16, one draw",
    "error law of 6 rows",
    "error law of 24 rows",
    "CS, once",
)
# for the gradients, which are timed, the damping, whether all curvatures could be factored, and the references' loss
SCORER_WAITS = 4
# operations that launch kernels, most of them the frozen network's; with what they were when every matrix was cast,
# measured and scaled by itself
MOST_LAUNCHED = {
    "texts": {"one step, one run": 660, "one step, distilled": 832, "one step, three folds": 662},  # 830, 1006, 830
    "images": {"one step, one run": 1930, "one step, distilled": 2260, "one step, three folds": 1930},  # 2473, 2808
}
PLANTED = "a planted mistake"
REFUSED = {"score by fisher_full", PLANTED}  # texts say that the first is not for them


def tried(family: str, *more: str) -> Results:
    command = [sys.executable, "-m", "tests.core.method.pretended_gpu.attempts", family, *more]
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(
    scope="module",
    params=[pytest.param("texts", marks=pytest.mark.slow), pytest.param("images", marks=pytest.mark.long)],
)
def seen(request: pytest.FixtureRequest) -> tuple[str, Results]:
    return request.param, tried(request.param)


def failures(results: Results) -> dict[str, str]:
    return {name: row["error"] for name, row in results.items() if not row["ok"] and name not in REFUSED}


def test_nothing_mixes_devices(seen: tuple[str, Results]) -> None:
    assert failures(seen[1]) == {}


def test_a_tensor_that_is_left_on_the_cpu_is_found(seen: tuple[str, Results]) -> None:
    assert seen[1][PLANTED]["error"].startswith("MixedDevices")


def test_the_host_waits_once_for_a_step_an_evaluation_and_scores(seen: tuple[str, Results]) -> None:
    _, results = seen
    assert {name: results[name]["places"] for name in ONE_WAIT if results[name]["waits"] > 1} == {}


def test_the_host_waits_for_no_matrix_of_an_adapter_by_itself(seen: tuple[str, Results]) -> None:
    _, results = seen
    for name in ("prepare a scorer", "prepare a scorer, two modules"):
        assert results[name]["waits"] <= SCORER_WAITS, results[name]["places"]


def test_a_step_launches_no_more_than_it_did(seen: tuple[str, Results]) -> None:
    family, results = seen
    found = {name: results[name]["launched"] for name in MOST_LAUNCHED[family]}
    assert {name: amount for name, amount in found.items() if amount > MOST_LAUNCHED[family][name]} == {}


@pytest.mark.long
@pytest.mark.parametrize("family", ["texts", "images"])
def test_no_whole_stage_mixes_devices(family: str) -> None:
    assert failures(tried(family, "--whole")) == {}
