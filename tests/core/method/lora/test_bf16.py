"""In a bf16 network the branch computes in bf16 beside float32 A and B; gradients and tangents are those of float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from core.method.backbones.backbone import Draw
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.influence.gradients import as_adapter, flat, per_sample_gradients
from core.method.influence.scores import score_draws
from core.method.lora.adapter import Adapter
from core.method.lora.layer import LoraLayer

Backbone = DiffusionBackbone | LanguageBackbone
ALIKE = 0.999  # the cosine


def drawn(backbone: Backbone, seed: int) -> Adapter:
    """Return an adapter with alpha = 3 r, whose branch is there."""
    adapter, generator = backbone.lora.new(2, 6.0, seed=seed), torch.Generator().manual_seed(seed)
    for matrix in adapter.up.values():
        matrix.data.copy_(0.05 * torch.randn(matrix.shape, generator=generator))
    return adapter


def found(backbone: Backbone, network: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return per-sample gradients (n, D), those of a batch as trained (D,), and scores (n,); computed in `dtype`."""
    network.to(torch.bfloat16).to(dtype)  # of the same weights
    if isinstance(backbone, LanguageBackbone):
        batch, draw = backbone.encode([{"text": "a small cat."}, {"text": "two dogs and a fish"}]), Draw()
    else:
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn(2, 4, 8, 8, generator=generator)
        batch = {"mean": latents, "std": torch.zeros_like(latents), **backbone.conditions(["a", "b"])}
        draw = backbone.random_draw(2, generator)
    adapter, direction = drawn(backbone, 1), drawn(backbone, 2)
    rows = per_sample_gradients(backbone, adapter, batch, [draw]).rows
    with backbone.lora.use(adapter):
        backbone.loss(batch, draw).sum().backward()
    trained = torch.cat([matrix.grad.flatten() for matrix in adapter.parameters() if matrix.grad is not None])
    direction = as_adapter(flat(direction)[0].detach(), adapter)
    return rows, trained, score_draws(backbone, adapter, direction, batch, [draw])[0]


@pytest.mark.parametrize("family", ["texts", "images"])
def test_gradients_and_tangents_are_those_of_float32(
    family: str, tiny_language: LanguageBackbone, tiny_diffusion: DiffusionBackbone
) -> None:
    backbone: Backbone = tiny_language if family == "texts" else tiny_diffusion
    network = tiny_language.model if family == "texts" else tiny_diffusion.network
    wanted, ours = found(backbone, network, torch.float32), found(backbone, network, torch.bfloat16)
    for a, b in zip(ours, wanted, strict=True):
        assert a.dtype == torch.float32
        assert torch.cosine_similarity(torch.atleast_2d(a), torch.atleast_2d(b)).min() > ALIKE


def test_only_what_is_differentiated_gets_gradients(tiny_language: LanguageBackbone) -> None:
    tiny_language.model.to(torch.bfloat16)  # type: ignore[arg-type]
    batch, adapter = tiny_language.encode([{"text": "a small cat."}]), drawn(tiny_language, 1)
    some = set(list(adapter.down)[-3:])
    whole = per_sample_gradients(tiny_language, adapter, batch, [Draw()])
    part = per_sample_gradients(tiny_language, adapter, batch, [Draw()], modules=some)
    wanted = torch.cat([whole.rows[:, block.span] for block in whole.layout if block.path in some], 1)
    assert torch.allclose(part.rows, wanted, atol=1e-3 * float(wanted.abs().max()))
    frozen = {path: matrix.detach() for path, matrix in adapter.down.items()}
    mixed = Adapter(2, 6.0, frozen | {path: adapter.down[path] for path in some}, adapter.up)
    with tiny_language.lora.use(mixed):
        downs = {path: layer.down for path, layer in tiny_language.lora.layers.items() if layer.down is not None}
    assert {down.dtype for down in downs.values()} == {torch.bfloat16}
    assert {path for path, down in downs.items() if down.requires_grad} == some


def test_modules_through_which_nothing_flows_are_found_in_bf16(tiny_language: LanguageBackbone) -> None:
    tiny_language.model.to(torch.bfloat16)  # type: ignore[arg-type]
    paths = list(tiny_language.lora.layers)
    last = paths[-1].rpartition(".")[0]  # whose output is all that its other modules are for
    tiny_language.lora.layers[paths[-1]].register_forward_hook(lambda _module, _inputs, output: output.detach())
    batch = tiny_language.encode([{"text": "a small cat."}])
    dead = tiny_language.lora.leave_out_dead(lambda: tiny_language.loss(batch, Draw()).sum(), 1)
    assert dead == tuple(path for path in paths if path.startswith(last))


def test_no_copy_of_the_inputs_is_kept_for_the_backward_pass() -> None:
    layer, kept = LoraLayer(nn.Linear(64, 8).bfloat16().requires_grad_(False)), list[Tensor]()
    layer.down, layer.up = (torch.randn(1, *sides, requires_grad=True) for sides in ((2, 64), (8, 2)))
    inputs = torch.randn(4, 10, 64).bfloat16().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(inputs)
    large = [tensor for tensor in kept if tensor.numel() >= inputs.numel()]
    assert {tensor.data_ptr() for tensor in large} == {inputs.data_ptr()}
