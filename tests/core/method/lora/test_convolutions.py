"""Adapters on convolutions of any kernel are peft's, and stacks, samples and tangents are exact there too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from core.method.lora.adapter import Adapter, load
from core.method.lora.model import LoraModel
from tests.core.method.lora.networks import noise, unet
from tests.core.method.stacks import stack

SHAPES = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (1, 3), "padding": (0, 1)},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": 1, "padding": 1},
    {"kernel_size": 1},
]


def drawn(lora: LoraModel, seed: int = 1) -> Adapter:
    adapter = lora.new(3, 6.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for matrix in adapter.up.values():
        matrix.data.copy_(torch.randn(matrix.shape, generator=generator) * 0.1)
    return adapter


def fresh(**shape: object) -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"conv": nn.Conv2d(4, 6, **shape)})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_convolution_of_any_kernel_computes_what_pefts_own_layer_does(
    shape: dict[str, object], tmp_path: Path
) -> None:
    lora, inputs = LoraModel(fresh(**shape), ["conv"]), torch.randn(4, 4, 9, 7)
    adapter = drawn(lora)
    lora.save(adapter, tmp_path, "tiny")
    theirs = PeftModel.from_pretrained(fresh(**shape), tmp_path).base_model.model["conv"]
    with torch.no_grad(), lora.use(adapter):
        bare, ours = lora.layers["conv"].base(inputs), lora.model["conv"](inputs)
        assert (ours - theirs(inputs)).norm() < 1e-6 * (ours - bare).norm()
    assert load(tmp_path).sha256() == adapter.sha256()
    assert lora.weights()["conv"].shape == (6, adapter.down["conv"].shape[2])


def losses(lora: LoraModel) -> Tensor:
    return noise(lora.model).square().flatten(1).mean(1)


@pytest.fixture(scope="module")
def lora() -> LoraModel:
    return LoraModel(unet().double(), ["conv1", "conv2", "conv_shortcut", "conv"])


def in_double(adapter: Adapter) -> Adapter:
    return Adapter(
        adapter.rank,
        adapter.alpha,
        *(
            {path: part.detach().double().requires_grad_() for path, part in half.items()}
            for half in (adapter.down, adapter.up)
        ),
    )


def test_stacks_samples_and_tangents_are_exact_on_convolutions(lora: LoraModel) -> None:
    first, second = in_double(drawn(lora, 1)), in_double(drawn(lora, 2))
    with torch.no_grad():
        with lora.use(stack([first, second]), samples=2):
            together = losses(lora)
        for run, adapter in enumerate((first, second)):
            with lora.use(adapter):
                assert torch.allclose(losses(lora)[run], together[run], rtol=1e-10)
    copies, epsilon = first.expand(2), torch.zeros(2, dtype=torch.float64, requires_grad=True)
    with lora.use(copies, samples=2):
        each = torch.autograd.grad(losses(lora).sum(), copies.parameters())
    with lora.use(first), lora.tangent(second, epsilon):
        (slopes,) = torch.autograd.grad(losses(lora).sum(), epsilon)
    for sample in range(2):
        with lora.use(first):
            single = torch.autograd.grad(losses(lora)[sample], first.parameters())
        for one, wanted in zip(each, single, strict=True):
            assert torch.allclose(one[sample], wanted[0], rtol=1e-8, atol=1e-12)
        inner = sum((g * u).sum() for g, u in zip(single, second.parameters(), strict=True))
        assert torch.allclose(slopes[sample], torch.as_tensor(inner), rtol=1e-8)
