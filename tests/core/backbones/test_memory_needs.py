"""How much memory a backbone is said to need, against what a GPU took and what networks keep at full size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from core.backbones.memory_needs import GIB, kept_of_picture, kept_of_token
from core.disk import ROOT
from core.estimates.default_costs import FORWARD_OF, BackboneSize

SD15_PARAMETERS = 859_520_964
SMOLLM_135M, LLAMA_1_7B = (30, 576, 1536, 49_152), (24, 2048, 8192, 49_152)
TEXTS_A_STEP = 4


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """What a GPU measured."""
    parts: dict[str, Any] = json.loads((ROOT / "benchmarks/results/gpu.json").read_text())["parts"]
    return parts


def one_more(part: dict[str, Any], few: str, many: str, more: int) -> float:
    """The bytes that one example more adds to the peak of a step."""
    return (part[many]["peak GiB"] - part[few]["peak GiB"]) / more * GIB


def within_a_factor_of_two(said: float, found: float) -> bool:
    return 1 / 2 < said / found < 2


def test_a_picture_takes_what_it_took_on_a_gpu(recorded: dict[str, Any]) -> None:
    took = one_more(recorded["steps_images"], "step b=1 runs=1", "step b=4 runs=4", 15)
    assert within_a_factor_of_two(kept_of_picture("sd1", 512, SD15_PARAMETERS, "cuda"), took)


def test_a_token_takes_what_it_took_on_a_gpu(recorded: dict[str, Any]) -> None:
    part = recorded["steps_texts"]
    step = part["step b=4 runs=1"]
    tokens = step["tokens a second"] * step["ms"] / 1000 / TEXTS_A_STEP
    took = one_more(part, "step b=4 runs=1", "step b=4 runs=4", 3 * TEXTS_A_STEP) / tokens
    assert within_a_factor_of_two(kept_of_token(*SMOLLM_135M, "cuda"), took)


def test_a_picture_of_twice_the_side_takes_four_times_as_much() -> None:
    small, large = (kept_of_picture("sd1", side, SD15_PARAMETERS, "cuda") for side in (512, 1024))
    assert large == pytest.approx(4 * small)


@pytest.mark.slow
def test_an_example_takes_what_a_network_of_full_size_keeps_of_it() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu.sizes", "kept"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    picture, text = (GIB * json.loads(line)["saved_gib"] for line in done.stdout.splitlines())
    assert within_a_factor_of_two(kept_of_picture("sd1", 512, SD15_PARAMETERS, "cuda"), picture)
    assert within_a_factor_of_two(1024 * kept_of_token(*LLAMA_1_7B, "cuda"), text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "family"),
    [
        pytest.param("sd3.5-large", "sd3", marks=pytest.mark.long),
        pytest.param("sd3.5-medium", "sd3", marks=pytest.mark.long),
        pytest.param("flux1", "flux1", marks=pytest.mark.long),
        pytest.param("flux2-dev", "flux2", marks=pytest.mark.long),
        ("flux2-klein-4b", "flux2-klein"),
        pytest.param("qwen-image", "qwen-image", marks=pytest.mark.long),
        ("z-image", "z-image"),
    ],
)
def test_a_transformer_of_full_size_keeps_needs_and_computes_what_is_said(name: str, family: str) -> None:
    import torch

    from benchmarks.gpu.flows import SIZES, measured
    from benchmarks.gpu.sizes import flash

    before = torch.nn.functional.scaled_dot_product_attention
    torch.nn.functional.scaled_dot_product_attention = flash  # type: ignore[assignment]
    try:
        found = measured(SIZES[name], 1024, torch.bfloat16)
        smaller = measured(SIZES[name], 512, torch.bfloat16)
    finally:
        torch.nn.functional.scaled_dot_product_attention = before  # type: ignore[assignment]
    assert kept_of_picture(family, 1024, found["params"], "cuda") / GIB == pytest.approx(found["saved_gib"], rel=0.1)
    assert kept_of_picture(family, 512, found["params"], "cuda") / GIB == pytest.approx(smaller["saved_gib"], rel=0.1)
    adapter = BackboneSize("images", family, 0, found["params"], found["modules"]).adapter
    assert 16 * adapter == pytest.approx(found["D"], rel=0.1)
    assert FORWARD_OF[family] * found["params"] == pytest.approx(smaller["flop"], rel=0.1)
