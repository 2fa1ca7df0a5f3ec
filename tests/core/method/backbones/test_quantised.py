"""Matrices in 8 and 4 bits: how exact they are, what gradients pass through them, and that no pass keeps them whole."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from benchmarks.claims.kept import kept_bytes
from core.method.backbones.backbone import Draw
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.precision import prepare_network
from core.method.backbones.quantised import NF4, Codes, QuantisedLinear
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.layer import LoraLayer
from core.method.lora.model import LoraModel
from core.method.stopping.similarity import CosineSimilarity
from tests.core.method.lora import networks
from tests.tiny_backbones import LLAMA_TARGETS, UNET_TARGETS

KINDS: list[Codes] = ["int8", "nf4"]
ERROR = {"int8": 0.009, "nf4": 0.11}  # of a matrix of normal numbers, relative to it


def linear(inputs: int = 256, outputs: int = 96) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs).requires_grad_(False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inputs", [256, 33])  # 33 x 17 fill no whole blocks
def test_a_quantised_linear_is_near_the_whole_one_and_as_exact_as_its_bits(kind: Codes, inputs: int) -> None:
    whole = nn.Linear(inputs, 17).requires_grad_(False)
    whole.weight.copy_(torch.randn(whole.weight.shape, generator=torch.Generator().manual_seed(2)))
    layer, rows = QuantisedLinear(whole, kind), torch.randn(5, 3, inputs)
    error = (layer.weight - whole.weight).norm() / whole.weight.norm()
    assert 0.3 * ERROR[kind] < error < ERROR[kind]
    assert (layer(rows) - whole(rows)).norm() < 1.2 * ERROR[kind] * whole(rows).norm()
    assert torch.allclose(layer(rows), nn.functional.linear(rows, layer.weight, layer.bias), atol=1e-5)


def test_int8_rounds_each_output_by_its_own_largest_weight() -> None:
    whole = linear()
    whole.weight[3] *= 1000
    layer = QuantisedLinear(whole, "int8")
    steps = whole.weight.abs().amax(1, keepdim=True) / 127
    assert ((layer.weight - whole.weight).abs() <= 0.5001 * steps).all()
    assert layer.codes.dtype == torch.int8
    assert int(layer.codes.abs().max()) == 127


def test_nf4_takes_the_nearest_of_sixteen_numbers_times_the_largest_of_64() -> None:
    whole = linear()
    blocks = whole.weight.view(-1, 64)
    scales = blocks.abs().amax(1, keepdim=True)
    table = torch.tensor(NF4)
    nearest = table[((blocks / scales).unsqueeze(-1) - table).abs().argmin(-1)] * scales
    assert torch.equal(QuantisedLinear(whole, "nf4").weight, nearest.view_as(whole.weight))


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_stay_zeros(kind: Codes) -> None:
    whole = linear()
    whole.weight.zero_()
    assert torch.equal(QuantisedLinear(whole, kind).weight, whole.weight)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_as_through_the_matrix_that_is_computed_with(kind: Codes) -> None:
    layer, rows = QuantisedLinear(linear(), kind), torch.randn(4, 256, requires_grad=True)
    (ours,) = torch.autograd.grad(layer(rows).square().sum(), rows)
    wanted = nn.functional.linear(rows, layer.weight, layer.bias)
    (theirs,) = torch.autograd.grad(wanted.square().sum(), rows)
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_keeps_no_matrix_and_the_network_holds_a_quarter_or_less(kind: Codes) -> None:
    network = nn.Sequential(*[nn.Linear(128, 128) for _ in range(4)]).requires_grad_(False)
    rows = torch.randn(8, 128, requires_grad=True)
    held = sum(tensor.nbytes for tensor in network.parameters())
    prepare_network(network, kind)
    assert all(type(layer) is QuantisedLinear for layer in network)
    small = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    assert small < (0.28 if kind == "int8" else 0.16) * held
    assert kept_bytes(network, lambda: network(rows)) <= 4 * rows.nbytes


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_in_the_type_of_its_inputs_and_goes_where_its_network_goes(kind: Codes) -> None:
    layer = QuantisedLinear(linear(), kind)
    assert layer(torch.randn(2, 256).bfloat16()).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32
    assert QuantisedLinear(linear().bfloat16(), kind).weight.dtype == torch.bfloat16
    assert copy.deepcopy(layer).bfloat16().weight.dtype == torch.bfloat16
    assert torch.equal(copy.deepcopy(layer).weight, layer.weight)


def test_heads_and_shared_weights_stay_whole() -> None:
    for tied in (True, False):
        network = prepare_network(networks.llama(tie_word_embeddings=tied), "int8")
        assert type(network.lm_head) is nn.Linear
        assert type(network.model.layers[0].mlp.up_proj) is QuantisedLinear
    assert type(prepare_network(networks.llama(), "float32").model.layers[0].mlp.up_proj) is nn.Linear


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_train_on_quantised_backbones_of_texts_and_images(
    kind: Codes, tiny_language_folder: Path, tiny_diffusion_folder: Path
) -> None:
    texts = LanguageBackbone.load(tiny_language_folder, max_tokens=48, target_modules=LLAMA_TARGETS, precision=kind)
    images = DiffusionBackbone.load(tiny_diffusion_folder, resolution=16, target_modules=UNET_TARGETS, precision=kind)
    whole = LanguageBackbone.load(tiny_language_folder, max_tokens=48, target_modules=LLAMA_TARGETS)
    batch = texts.encode([{"text": "a small cat."}, {"text": "two dogs and a fish"}])
    assert 0 < (texts.loss(batch, Draw()) - whole.loss(batch, Draw())).abs().max() < 0.05
    for backbone in (texts, images):
        layers = backbone.lora.layers
        bases = {type(layer.base) for layer in layers.values() if not layer.convolution}
        assert bases == {QuantisedLinear}
        adapter = backbone.lora.new(2, 2.0)
        for path, layer in layers.items():
            assert layer.matrix().shape == (adapter.up[path].shape[1], adapter.down[path].shape[2])
        assert CosineSimilarity(backbone.lora.weights())(adapter).isnan().all()
    adapter = texts.lora.new(2, 2.0, runs=2)
    with texts.lora.use(adapter, samples=2):
        found = torch.autograd.grad(texts.loss(batch, Draw()).sum(), adapter.parameters())
    assert all(bool(gradient.abs().sum() > 0) for gradient in found[1::2])


@pytest.mark.parametrize("kind", KINDS)
def test_peft_adapts_a_quantised_network_and_computes_the_same(kind: Codes, tmp_path: Path) -> None:
    def make() -> nn.Module:
        return prepare_network(networks.llama(), kind)

    lora = LoraModel(make(), ["q_proj", "down_proj"])
    adapter = lora.new(2, 2.0)
    for matrix in adapter.up.values():
        matrix.data.normal_(generator=torch.Generator().manual_seed(1))
    lora.save(adapter, tmp_path, "tiny")
    theirs = PeftModel.from_pretrained(make(), tmp_path).eval()
    with torch.no_grad(), lora.use(adapter):
        ours: Tensor = networks.logits(lora.model)
        assert torch.allclose(networks.logits(theirs), ours, atol=1e-5)
    assert isinstance(lora.layers["model.layers.0.self_attn.q_proj"], LoraLayer)
