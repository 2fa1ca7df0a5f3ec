"""What a network learns to predict, and what each timestep counts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image

from core.errors import JobFailure
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.folder import Folder
from core.method.backbones.images.forms import FORMS
from core.method.backbones.images.objective import Ddpm, Flow

BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
STEPS = torch.tensor([0, 1, 50, 400, 700, 999])
BY_TOKENS = {"use_dynamic_shifting": True, "base_shift": 0.4, "max_shift": 1.2, "max_image_seq_len": 8192}
SIZES = torch.tensor([[64, 64], [128, 128], [96, 160]])


def objective(min_snr: float | None, **config: object) -> Ddpm:
    return Ddpm(dict(DDPMScheduler(**BETAS, **config).config), min_snr)


def ratio(timestep: int) -> float:
    """Signal to noise as the paper has it, from betas of its own."""
    betas = torch.linspace(BETAS["beta_start"] ** 0.5, BETAS["beta_end"] ** 0.5, 1000, dtype=torch.float64) ** 2
    kept = float((1 - betas)[: timestep + 1].prod())
    return kept / (1 - kept)


def test_min_snr_weights_are_those_of_the_paper() -> None:
    noise, velocity = objective(5.0), objective(5.0, prediction_type="v_prediction")
    ratios = [ratio(int(step)) for step in STEPS]
    assert ratios[0] > 5 > ratios[-1]  # both sides of the bend are there
    assert noise.weight(STEPS).tolist() == pytest.approx([min(each, 5) / each for each in ratios], rel=1e-3)
    assert velocity.weight(STEPS).tolist() == pytest.approx([min(each, 5) / (each + 1) for each in ratios], rel=1e-3)


def test_without_min_snr_all_timesteps_count_alike() -> None:
    assert objective(None).weight(STEPS) is None


def test_where_no_signal_is_left_weights_stay_numbers() -> None:
    for prediction, wanted in (("epsilon", 1.0), ("v_prediction", 0.0)):
        weights = objective(5.0, prediction_type=prediction, rescale_betas_zero_snr=True).weight(STEPS)
        assert weights.isfinite().all()
        assert weights[-1] == wanted


def test_a_loss_is_weighted_sample_by_sample(tiny_diffusion: DiffusionBackbone) -> None:
    batch = tiny_diffusion.encode([{"image": Image.radial_gradient("L").convert("RGB"), "caption": "a ball"}] * 3)
    draw = tiny_diffusion.random_draw(3, torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = tiny_diffusion.loss(batch, draw)
        tiny_diffusion.objective.min_snr = 1.0
        weighted = tiny_diffusion.loss(batch, draw)
    weight = tiny_diffusion.objective.weight(draw.timestep)
    assert torch.equal(weighted, plain * weight)
    assert len(set(weight.tolist())) > 1


def test_a_network_that_predicts_something_else_is_refused() -> None:
    with pytest.raises(JobFailure, match="predicts 'sample'; only epsilon and v_prediction are taken") as refused:
        objective(None, prediction_type="sample")
    assert refused.value.code == "backbone_unavailable"


def test_sampling_begins_where_no_signal_is_left_if_the_training_had_such_a_place(tmp_path: Path) -> None:
    zero = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    for config, spacing, first in (
        (zero, "trailing", 999),
        ({}, "linspace", 999),
        ({"steps_offset": 1}, "linspace", 999),
    ):
        DDPMScheduler(**BETAS, **config, timestep_spacing="linspace").save_pretrained(tmp_path / "scheduler")
        scheduler = Folder(tmp_path, torch.device("cpu")).scheduler()
        scheduler.set_timesteps(20)
        assert (scheduler.config.timestep_spacing, int(scheduler.timesteps[0])) == (spacing, first)
        assert scheduler.config.prediction_type == config.get("prediction_type", "epsilon")
    DDPMScheduler(**BETAS, **zero, timestep_spacing="leading").save_pretrained(tmp_path / "scheduler")
    scheduler = Folder(tmp_path, torch.device("cpu")).scheduler()
    scheduler.set_timesteps(20)
    assert int(scheduler.timesteps[0]) == 999  # "leading", which its folder says, would begin at 950


@pytest.mark.parametrize("solver", [{}, {"algorithm_type": "deis"}, {"algorithm_type": "dpmsolver"}])
def test_a_folder_of_another_solver_is_sampled_by_the_one_that_there_is(tmp_path: Path, solver: dict[str, str]) -> None:
    DDPMScheduler(**BETAS).save_pretrained(tmp_path / "scheduler")
    file = tmp_path / "scheduler/scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | solver))
    scheduler = Folder(tmp_path, torch.device("cpu")).scheduler()
    assert scheduler.config.algorithm_type == "dpmsolver++"


def flow(**config: object) -> tuple[Flow, FlowMatchEulerDiscreteScheduler]:
    scheduler = FlowMatchEulerDiscreteScheduler(**config)
    return Flow(scheduler.config), scheduler


@pytest.mark.parametrize("config", [{}, {"shift": 3.0}, BY_TOKENS, BY_TOKENS | {"time_shift_type": "linear"}], ids=str)
def test_a_flow_is_learned_where_its_scheduler_shifts_a_logit_normal_draw(config: dict[str, object]) -> None:
    objective, scheduler = flow(**config)
    for share, place in ((0.5, 0.5), (0.1586552539, 0.2689414214), (0.9772498681, 0.8807970780)):  # 0, -1, 2 deviations
        for found, (rows, columns) in zip(objective.at(share, SIZES).tolist(), SIZES.tolist(), strict=True):
            tokens = rows // 2 * (columns // 2)
            mu = (
                calculate_shift(tokens, *(scheduler.config[name] for name in NAMES))
                if scheduler.config[DYNAMIC]
                else None
            )
            scheduler.set_timesteps(sigmas=[place], mu=mu)
            assert found == pytest.approx(float(scheduler.sigmas[0]), rel=1e-5)


def test_flux_2_is_learned_where_its_pipeline_draws_in_so_many_steps_that_it_shifts_for_their_sake_no_more() -> None:
    objective = FORMS["flux2-klein"].objective(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True).config)
    for found, (rows, columns) in zip(objective.at(0.5, SIZES).tolist(), SIZES.tolist(), strict=True):
        assert math.log(found / (1 - found)) == pytest.approx(compute_empirical_mu(rows * columns, 200), rel=1e-4)


NAMES = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
DYNAMIC = "use_dynamic_shifting"


def test_a_flow_is_noised_as_its_scheduler_does_and_predicts_the_way_to_the_noise() -> None:
    objective, scheduler = flow(shift=3.0)
    latent, noise = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0)).unbind()
    steps = scheduler.timesteps[[3, 400, 990]]
    places = steps / 1000
    noisy = objective.noised(latent, noise, places)
    assert torch.allclose(noisy, scheduler.scale_noise(latent, steps, noise), atol=1e-6)
    assert torch.allclose(noisy - places.view(-1, 1, 1, 1) * objective.target(latent, noise, places), latent, atol=1e-6)
    assert objective.weight(places) is None


def test_places_of_a_flow_are_drawn_inside_its_bounds_and_again_from_the_same_seed() -> None:
    objective, _ = flow(shift=3.0)
    sizes = torch.tensor([[8, 8]] * 4000)
    drawn, again = (objective.random(sizes, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(drawn, again)
    assert drawn.dtype == torch.float32
    assert 0 < float(drawn.min()) < float(drawn.max()) < 1
    assert float((drawn < objective.at(0.3, sizes)).float().mean()) == pytest.approx(0.3, abs=0.03)
    ends = [float(objective.at(share, sizes[:1])) for share in (0.0, 1 - 1e-12)]
    assert 0 < ends[0] < ends[1] < 1
