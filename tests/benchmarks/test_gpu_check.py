"""The check for GPUs, where there is none: it says so, and in toy sizes it runs on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.disk import ROOT


def check(*words: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.gpu.check", *words]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_without_a_gpu_it_says_so_in_a_sentence() -> None:
    done = check()
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert done.stdout.startswith("There is no GPU that torch can use here.")


@pytest.mark.slow
def test_in_toy_sizes_every_kind_of_part_runs_on_a_cpu(tmp_path: Path) -> None:
    parts = ["environment", "steps_texts", "against_trainer", "whole_texts", "faults", "right_texts"]
    done = check("--tiny", "--out", str(tmp_path / "found.json"), "--only", *parts)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert (sorted(found["took"]), found["failed"], found["skipped"]) == (sorted(parts), {}, [])
    assert found["parts"]["faults"]["more memory than there is"] == "out_of_memory"
    assert found["parts"]["right_texts"]["verdict"]["float32 agrees"] is True
