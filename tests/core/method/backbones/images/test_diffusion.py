"""Encoding, noise, losses, samples and features of a latent diffusion backbone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from core.errors import JobFailure
from core.method.backbones.images.activations import SEEN_AT_ONCE
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.objective import Ddpm
from core.method.influence.gradients import per_sample_gradients
from core.method.training.loop import evaluate
from core.parameters.schedule import DRAWN_AT_ONCE

VELOCITY = {"prediction_type": "v_prediction"}
ITEMS = [
    {"image": Image.radial_gradient("L").convert("RGB"), "caption": "a ball"},
    {"image": Image.new("RGB", (40, 20), "red")},
]


def test_items_become_latents_and_text_embeddings(tiny_diffusion: DiffusionBackbone) -> None:
    batch = tiny_diffusion.encode(ITEMS)
    assert batch["mean"].shape == batch["std"].shape == (2, 4, 8, 8)
    assert batch["text"].shape == (2, 24, 32)
    assert torch.equal(batch["text"][1], tiny_diffusion.conditions([""])["text"][0])


def test_further_lines_of_a_caption_are_embedded_once_each_beside_the_first(tiny_diffusion: DiffusionBackbone) -> None:
    lines = [["a ball", "a disc", "round and grey"], ["red"], ["a", "b"]]
    items = [ITEMS[0] | {"caption": first, "others": others} for first, *others in lines]
    batch = tiny_diffusion.encode(items)
    plain = tiny_diffusion.encode([{"image": item["image"], "caption": item["caption"]} for item in items])
    assert set(plain) == {"mean", "std", "text"}
    assert all(torch.equal(batch[name], plain[name]) for name in plain)
    assert batch["lines"].tolist() == [3, 1, 2]
    assert batch["others"].shape == (3, 2, 24, 32)
    for item, (_, *others) in enumerate(lines):
        for place, line in enumerate(others):
            assert torch.allclose(batch["others"][item, place], tiny_diffusion.conditions([line])["text"][0], atol=1e-5)


def test_the_longest_line_of_a_caption_counts(tiny_diffusion: DiffusionBackbone) -> None:
    alone = tiny_diffusion.tokens({"caption": "round and grey"})
    assert tiny_diffusion.tokens({"caption": "a", "others": ["round and grey", "b"]}) == alone


def test_losses_and_gradients_are_those_of_first_lines(tiny_diffusion: DiffusionBackbone) -> None:
    batch = tiny_diffusion.encode([item | {"others": ["something else"]} for item in ITEMS])
    plain, draws = tiny_diffusion.encode(ITEMS), tiny_diffusion.fixed_draws(2, 2, seed=0)
    adapter = tiny_diffusion.lora.new(2, 2.0, runs=2, seed=1)
    assert torch.equal(evaluate(tiny_diffusion, adapter, batch, draws), evaluate(tiny_diffusion, adapter, plain, draws))
    one = tiny_diffusion.lora.new(2, 2.0, seed=1)
    rows = [per_sample_gradients(tiny_diffusion, one, each, draws).rows for each in (batch, plain)]
    assert torch.equal(*rows)


def test_fixed_draws_are_the_same_always_and_cover_all_timesteps(tiny_diffusion: DiffusionBackbone) -> None:
    first, second = (tiny_diffusion.fixed_draws(8, 3, seed=5) for _ in range(2))
    steps = [int(draw.timestep[0]) for draw in first if draw.timestep is not None]
    assert [step // 125 for step in steps] == list(range(8))
    assert all(
        torch.equal(a.noise, b.noise)
        for a, b in zip(first, second, strict=True)
        if a.noise is not None and b.noise is not None
    )


def test_the_loss_is_the_error_of_the_predicted_noise(tiny_diffusion: DiffusionBackbone) -> None:
    batch, draw = tiny_diffusion.encode(ITEMS), tiny_diffusion.fixed_draws(1, 2, seed=0)[0]
    assert draw.noise is not None
    with torch.no_grad():
        noisy = tiny_diffusion.objective.noised(batch["mean"], draw.noise, draw.timestep)
        wanted = tiny_diffusion.network(noisy, draw.timestep, batch["text"]).sample
        losses = tiny_diffusion.loss(batch, draw)
    assert torch.allclose(losses, (wanted - draw.noise).square().flatten(1).mean(1), atol=1e-6)


def test_a_velocity_model_is_asked_for_velocity(tiny_diffusion: DiffusionBackbone) -> None:
    batch, draw = tiny_diffusion.encode(ITEMS), tiny_diffusion.fixed_draws(1, 2, seed=0)[0]
    with torch.no_grad():
        noise_loss = tiny_diffusion.loss(batch, draw)
        tiny_diffusion.objective = Ddpm(dict(tiny_diffusion.pipeline.scheduler.config) | VELOCITY)
        noisy = tiny_diffusion.objective.noised(batch["mean"], draw.noise, draw.timestep)
        target = tiny_diffusion.objective.target(batch["mean"], draw.noise, draw.timestep)
        wanted = (
            (tiny_diffusion.network(noisy, draw.timestep, batch["text"]).sample - target).square().flatten(1).mean(1)
        )
        assert torch.allclose(tiny_diffusion.loss(batch, draw), wanted, atol=1e-6)
    assert not torch.allclose(noise_loss, wanted, atol=1e-3)


def test_the_same_seed_draws_the_same_pictures(tiny_diffusion: DiffusionBackbone) -> None:
    first, second = (tiny_diffusion.sample(["a cat", "a cat"], seed=3, steps=2) for _ in range(2))
    assert [image.tobytes() for image in first] == [image.tobytes() for image in second]
    assert first[0].tobytes() != first[1].tobytes()


def test_many_pictures_are_drawn_a_few_at_a_time_and_each_keeps_its_noise(tiny_diffusion: DiffusionBackbone) -> None:
    sizes: list[int] = []
    handle = tiny_diffusion.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    many = tiny_diffusion.sample(["a cat"] * (2 * DRAWN_AT_ONCE + 1), seed=3, steps=2)
    handle.remove()
    last = tiny_diffusion.sample(["a cat"], seed=3 + 2 * DRAWN_AT_ONCE, steps=2)
    assert len(many) == 2 * DRAWN_AT_ONCE + 1
    assert max(sizes) == 2 * DRAWN_AT_ONCE  # each with its prompt and without
    assert max(abs(a - b) for a, b in zip(many[-1].tobytes(), last[0].tobytes(), strict=True)) <= 1


def test_features_of_many_pictures_are_those_of_each(tiny_diffusion: DiffusionBackbone) -> None:
    images = [Image.new("RGB", (16, 16), (12 * number, 40, 90)) for number in range(SEEN_AT_ONCE + 3)]
    for features in (tiny_diffusion.features, tiny_diffusion.style_features):
        alone = torch.cat([features([image]) for image in images])
        assert torch.allclose(features(images), alone, atol=1e-5)


def test_features_tell_pictures_apart_and_ignore_the_adapter(tiny_diffusion: DiffusionBackbone) -> None:
    images = [item["image"] for item in ITEMS]
    features = tiny_diffusion.features(images)
    assert (features[0] - features[1]).norm() > 1e-3
    adapter = tiny_diffusion.lora.new(2, 2.0)
    for matrix in adapter.up.values():
        matrix.data.fill_(1.0)
    with tiny_diffusion.lora.use(adapter):
        assert torch.equal(tiny_diffusion.features(images), features)


@pytest.mark.parametrize(
    ("file", "weight"),
    [
        ("unet/diffusion_pytorch_model", "conv_out.weight"),
        ("vae/diffusion_pytorch_model", "decoder.conv_out.weight"),
        ("text_encoder/model", "final_layer_norm.weight"),
    ],
)
def test_a_network_whose_files_lack_a_weight_is_not_drawn_anew(
    tiny_diffusion_folder: Path, tmp_path: Path, file: str, weight: str
) -> None:
    folder = Path(shutil.copytree(tiny_diffusion_folder, tmp_path / "sd"))
    weights = load_file(folder / f"{file}.safetensors")
    weights.pop(weight)
    save_file(weights, folder / f"{file}.safetensors", metadata={"format": "pt"})
    with pytest.raises(JobFailure, match=f"The {file.partition('/')[0]} of this backbone lacks {weight}") as failed:
        DiffusionBackbone.load(folder, resolution=16, target_modules=("to_q",)).nothing()
    assert failed.value.code == "backbone_unavailable"
