"""Which floats a backbone is held in, and passes that are computed twice: the same gradients, and less is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.claims.kept import kept_bytes
from core.errors import InvalidInput
from core.method.backbones.backbone import Draw
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.precision import float_type, prepare_network
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.model import LoraModel
from tests.core.method.lora import networks
from tests.tiny_backbones import LLAMA_TARGETS, UNET_TARGETS

TEXT_TARGETS = ["q_proj", "v_proj", "down_proj"]
UNET = ["to_q", "to_out.0", "conv1"]
CASES = [
    pytest.param(lambda: networks.llama(num_hidden_layers=4), TEXT_TARGETS, networks.logits, id="llama"),
    pytest.param(networks.unet, UNET, networks.noise, id="unet"),
    pytest.param(networks.sdxl, UNET, networks.noise, id="sdxl"),
]


def test_floats_follow_the_precision_and_else_the_device() -> None:
    assert float_type(None, "cpu") == float_type("int8", "cpu") == float_type("float32", "cuda") == torch.float32
    assert float_type(None, "cuda:0") == float_type("nf4", "cuda") == float_type("bfloat16", "cpu") == torch.bfloat16


def test_a_backbone_is_loaded_in_the_floats_that_are_asked_for(
    tiny_language_folder: Path, tiny_diffusion_folder: Path
) -> None:
    for precision, wanted in ((None, torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        texts = LanguageBackbone.load(
            tiny_language_folder, max_tokens=48, target_modules=LLAMA_TARGETS, precision=precision
        )
        images = DiffusionBackbone.load(
            tiny_diffusion_folder, resolution=16, target_modules=UNET_TARGETS, precision=precision
        )
        assert {weight.dtype for weight in texts.model.parameters()} == {wanted}
        assert {weight.dtype for weight in images.network.parameters()} == {wanted}
        assert texts.lora.new(2, 2.0).parameters()[0].dtype == torch.float32


@pytest.mark.parametrize(("make", "targets", "call"), CASES)
def test_gradients_of_passes_computed_twice_are_the_same_and_less_is_kept(
    make: Callable[[], nn.Module], targets: list[str], call: Callable[[nn.Module], Tensor]
) -> None:
    found, kept = [], []
    for checkpointing in (False, True):
        lora = LoraModel(prepare_network(make(), None, checkpointing=checkpointing), targets)
        adapter = lora.new(2, 2.0, runs=2)
        for matrix in adapter.up.values():
            matrix.data.normal_(generator=torch.Generator().manual_seed(1))
        with lora.use(adapter, samples=2):
            kept.append(kept_bytes(lora.model, lambda lora=lora: call(lora.model)))
            found.append(torch.autograd.grad(call(lora.model).square().sum(), adapter.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert kept[1] < 0.5 * kept[0]


def test_per_sample_gradients_and_tangents_pass_through_what_is_computed_twice() -> None:
    slopes = []
    for checkpointing in (False, True):
        lora = LoraModel(prepare_network(networks.llama(), None, checkpointing=checkpointing), TEXT_TARGETS)
        adapter, direction = lora.new(2, 2.0, seed=1), lora.new(2, 2.0, seed=2)
        epsilon = torch.zeros(2, requires_grad=True)
        with lora.use(adapter), lora.tangent(direction, epsilon):
            slopes.append(torch.autograd.grad(networks.logits(lora.model).square().sum(), epsilon)[0])
    assert torch.equal(*slopes)


def test_a_backward_pass_after_the_adapter_is_gone_is_an_error_and_not_a_wrong_gradient() -> None:
    lora = LoraModel(prepare_network(networks.llama(), None, checkpointing=True), TEXT_TARGETS)
    adapter = lora.new(2, 2.0)
    with lora.use(adapter):
        loss = networks.logits(lora.model).sum()
    with pytest.raises(Exception, match="checkpoint"):
        torch.autograd.grad(loss, adapter.parameters())


def test_answers_are_written_with_a_cache_and_the_same_with_passes_computed_twice(tiny_language_folder: Path) -> None:
    backbones = [
        LanguageBackbone.load(
            tiny_language_folder, max_tokens=48, target_modules=LLAMA_TARGETS, checkpointing=checkpointing
        )
        for checkpointing in (False, True)
    ]
    batch = backbones[1].encode([{"text": "a small cat."}])
    answers = []
    for backbone in backbones:
        adapter = backbone.lora.new(2, 2.0)
        with backbone.lora.use(adapter):
            backbone.loss(batch, Draw()).sum().backward()  # leaves layers in training mode
        answers.append(backbone.sample(["where?", "who?"], seed=0, max_new_tokens=8))
    assert answers[0] == answers[1]
    twice = backbones[1].model
    with torch.no_grad():
        assert twice(input_ids=batch["input_ids"], use_cache=True).past_key_values.get_seq_length() > 0
    assert not any(layer.training for layer in twice.model.layers)


def test_dropout_stays_off_while_passes_are_computed_twice() -> None:
    network = prepare_network(networks.llama(attention_dropout=0.9), None, checkpointing=True)
    lora = LoraModel(network, TEXT_TARGETS)
    with lora.use(lora.new(2, 2.0)):
        assert torch.equal(networks.logits(network), networks.logits(network))


def test_a_network_that_can_not_be_computed_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="A Sequential can't compute its forward pass again"):
        prepare_network(nn.Sequential(nn.Linear(2, 2)), None, checkpointing=True)
