"""What is guessed of a backbone on a GPU, against what one H200 took for two of their sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from diffusers import StableDiffusion3Pipeline, ZImagePipeline

from core.backbones.families import ROWS, DeviceClass
from core.backbones.memory_needs import GIB, kept_of_picture
from core.disk import ROOT
from core.estimates.default_costs import DENOISED, DRAWN, GUIDED, BackboneSize, thumb_prices
from core.estimates.estimator import Estimator, usual_shape
from core.estimates.sizes import DataSize, Steps
from core.estimates.workload import Amount, workload
from core.method.backbones.images.forms import FORMS
from core.parameters.schedule import CANDIDATES_AT_ONCE, EVALUATED_AT_ONCE
from tests.core.parameters.test_resolving import EMOJI, TEXT

SD15 = BackboneSize("images", "sd1", 4_265_000_000, 859_520_964, 128)
SMOLLM_135M = BackboneSize("texts", "llama", 269_000_000, 134_515_008, 210, (30, 576, 1536, 49_152))
LLAMA_8B = BackboneSize("texts", "llama", 16_060_000_000, 8_030_261_248, 224, (32, 4096, 14_336, 128_256))
PICTURES, TEXTS = (usual_shape(record, "cuda") for record in (EMOJI.model_copy(update={"resolution": 512}), TEXT))
GRADIENTS_MEASURED = 8  # pictures in one pass of the record


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """What a GPU measured."""
    parts: dict[str, Any] = json.loads((ROOT / "benchmarks/results/gpu.json").read_text())["parts"]
    return parts


def near(said: float, took: float) -> bool:
    return 1 / 2 < said / took < 2


@pytest.mark.parametrize(("batch", "runs"), [(1, 1), (4, 1), (1, 4), (4, 4)])
def test_a_step_of_pictures_takes_what_it_took(recorded: dict[str, Any], batch: int, runs: int) -> None:
    prices = thumb_prices(PICTURES, "cuda", SD15)
    took = recorded["steps_images"][f"step b={batch} runs={runs}"]["ms"] / 1000
    assert near(prices.of("step", Amount(1, batch * runs, runs), PICTURES.rank), took)


@pytest.mark.parametrize("runs", [1, 4])
def test_a_step_of_texts_takes_what_it_took(recorded: dict[str, Any], runs: int) -> None:
    step = recorded["steps_texts"][f"step b=4 runs={runs}"]
    tokens = step["tokens a second"] * step["ms"] / 1000
    prices = thumb_prices(TEXTS, "cuda", SMOLLM_135M)
    assert near(prices.of("step", Amount(1, tokens, runs), TEXTS.rank), step["ms"] / 1000)


def test_scores_and_gradients_take_what_they_took(recorded: dict[str, Any]) -> None:
    prices, took = thumb_prices(PICTURES, "cuda", SD15), recorded["scoring"]
    score = prices.of("score", Amount(1, CANDIDATES_AT_ONCE), PICTURES.rank)
    assert near(score, CANDIDATES_AT_ONCE * took["sd, 32 at once"]["ms a candidate"] / 1000)
    gradient = prices.of("gradient", Amount(1, GRADIENTS_MEASURED), PICTURES.rank)
    assert near(gradient, GRADIENTS_MEASURED * took["sd, 8 at once"]["per-sample gradients"]["ms an example"] / 1000)


def test_memory_is_what_a_step_of_four_folds_took(recorded: dict[str, Any]) -> None:
    shape = replace(PICTURES, batch_size=4, folds=4, scored=False)
    work = workload(shape, DataSize(8), Steps(400, 0, 1200))
    peak = thumb_prices(shape, "cuda", SD15).peak_memory(work, shape)
    assert near(peak, recorded["steps_images"]["step b=4 runs=4"]["peak GiB"] * GIB)


def test_a_large_backbone_takes_its_weights_its_adapters_and_what_it_keeps() -> None:
    """And no more of an example than what is computed twice leaves of it."""
    prices = thumb_prices(TEXTS, "cuda", LLAMA_8B)
    weights, adapters = 2 * 8.03e9, 16 * 41_943_040 * TEXTS.folds
    assert prices.least_memory == pytest.approx(weights, rel=0.01)
    assert prices.memory[0] == pytest.approx(weights + adapters, rel=0.02)
    assert prices.memory[1] < LLAMA_8B.kept("cuda") / 2


@pytest.mark.parametrize("side", [512, 1024, 1536])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_pictures_and_their_captions_take_what_is_kept_of_them_in_any_size(device: DeviceClass, side: int) -> None:
    """A caption of FLUX.1 is as long beside a small picture as beside a large one."""
    size = BackboneSize("images", "flux1", 34_000_000_000, 11_901_408_320, 266)
    shape = replace(PICTURES, resolution=side, batch_size=4, folds=1, scored=False, share=0.0)
    prices, work = thumb_prices(shape, device, size), workload(shape, DataSize(8), Steps(400, 0, 1200))
    kept = 4 * kept_of_picture("flux1", side, size.parameters, device) * (0.25 if device == "cuda" else 1)
    assert prices.peak_memory(work, shape) - prices.memory[0] == pytest.approx(kept)


def test_evaluated_texts_take_all_their_logits_at_once() -> None:
    work = workload(TEXTS, DataSize(1000, lengths=(1024.0,)), Steps(10, 0, 10))
    peak = thumb_prices(TEXTS, "cuda", LLAMA_8B).peak_memory(work, TEXTS)
    assert peak == pytest.approx(2 * 8.03e9 + 14 * EVALUATED_AT_ONCE * 1024 * 128_256, rel=0.01)


def test_a_backbone_of_twice_the_parameters_computes_for_twice_as_long() -> None:
    small, large = (thumb_prices(PICTURES, "cuda", replace(SD15, parameters=n * 400_000_000)) for n in (1, 2))
    many = Amount(1, 1000)
    assert large.of("step", many, 16) == pytest.approx(2 * small.of("step", many, 16))
    assert large.of("step", Amount(1, 1), 16) == small.of("step", Amount(1, 1), 16)  # what launches take


def test_sizes_are_read_of_a_record_and_its_configuration(tmp_path: Path) -> None:
    sides = {"num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536, "vocab_size": 49_152}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": sides}))
    record = TEXT.model_copy(update={"path": tmp_path, "parameters": 134_515_008, "adapted_modules": 210})
    assert BackboneSize.of(record, 269_000_000) == SMOLLM_135M
    assert Estimator(record, [], "cuda: H200").model.prices.on_device


@pytest.mark.parametrize("config", [None, "no JSON", "[]", "{}"])
def test_of_a_backbone_that_is_not_here_a_usual_one_is_thought(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    for record in (TEXT, EMOJI):
        there = record.model_copy(update={"path": tmp_path})
        assert BackboneSize.of(there, None) == BackboneSize.typical(there.kind)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_pictures_take_the_steps_and_the_guidance_that_a_backbone_is_drawn_with(device: str) -> None:
    """Z-Image is drawn in 50 steps of two samples each, Z-Image-Turbo in 8 of one."""
    usual = EMOJI.model_copy(update={"family": "z-image", "parameters": 6_154_908_736, "defaults": {}})
    turbo = usual.model_copy(update={"defaults": {"sample_steps": 8, "guidance": 0.0}})
    many, few = (
        thumb_prices(PICTURES, device, BackboneSize.of(record, 20_000_000_000)).seconds["sample"][0]
        for record in (usual, turbo)
    )
    assert many / few == pytest.approx(100 / 8)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize(("family", "pipeline"), [("z-image", ZImagePipeline), ("sd3", StableDiffusion3Pipeline)])
def test_a_second_sample_is_foretold_where_the_pipeline_is_guided(
    family: str, pipeline: type[Any], guidance: float
) -> None:
    """Z-Image's counts its guidance from 0, and others from 1."""
    record = EMOJI.model_copy(update={"family": family, "defaults": {"guidance": guidance}})
    guided = pipeline.do_classifier_free_guidance.fget(SimpleNamespace(_guidance_scale=guidance))
    assert BackboneSize.of(record, 20_000_000_000).passes[1] == (2 if guided else 1)


def test_pictures_are_foretold_in_the_steps_in_which_every_family_draws() -> None:
    for row in (row for row in ROWS if row.form is not None):
        form = FORMS[row.form]
        assert DRAWN.get(row.id, (DENOISED, GUIDED))[0] == form.steps, row.id
