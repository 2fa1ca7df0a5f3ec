"""What the method rests on, in every family: stacks, gradients of single samples, and tangents.

Every difference is relative to what the adapter changes, so that nothing is right only because little happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from core.backbones.folders.inspecting import inspect_folder
from core.backbones.memory_needs import ADAPTED_BYTES, RANK, needs
from core.backbones.record import BackboneRecord
from core.method.backbones.backbone import Batch, Draw, part_of, take, tile, tile_draw
from core.method.influence.gradients import flat, per_sample_gradients
from core.method.lora.adapter import Adapter
from tests.core.method.stacks import stack
from tests.families.conftest import EXAMPLES, Folder, drawn
from tests.families.images import IMAGES, SIDE
from tests.families.texts import TEXTS

if TYPE_CHECKING:
    from core.method.backbones.images.diffusion import DiffusionBackbone
    from core.method.backbones.texts.language import LanguageBackbone

    AnyBackbone = DiffusionBackbone | LanguageBackbone

CLOSE = 5e-5  # of the effect, in float32; how much a CPU rounds off depends on its kernels
RUNS = 3


def losses(backbone: AnyBackbone, adapter: Adapter | None, batch: Batch, draw: Draw) -> torch.Tensor:
    with torch.no_grad(), backbone.lora.use(adapter):
        return backbone.loss(batch, draw)


def off(found: torch.Tensor, wanted: torch.Tensor, effect: torch.Tensor) -> float:
    return float((found - wanted).norm() / effect.norm())


def test_every_module_of_the_family_is_adapted_and_learns(
    name: str, backbone: AnyBackbone, batch: Batch, draw: Draw
) -> None:
    rows = per_sample_gradients(backbone, drawn(backbone, 1), batch, [draw])
    assert len(backbone.lora.layers) == {**IMAGES, **TEXTS}[name].adapted
    still = [block.path for block in rows.layout if not rows.rows[:, block.span].any()]
    assert still == []


def test_the_record_counts_what_is_adapted(record: BackboneRecord, backbone: AnyBackbone) -> None:
    assert record.adapted_modules == len(backbone.lora.layers)


def test_what_an_operator_names_is_counted_in_files_as_it_is_taken_in_the_network(folder_of: Folder) -> None:
    from core.method.backbones.images.diffusion import DiffusionBackbone

    folder, targets = folder_of("sd1"), ("to_q", "**.resnets.*.conv1", "conv_shortcut")
    found = inspect_folder(folder, targets)
    backbone = DiffusionBackbone.load(folder, resolution=SIDE, target_modules=targets)
    assert {path for paths in found.adapted.values() for path in paths} == set(backbone.lora.layers)
    numbers = sum(matrix.numel() for matrix in backbone.lora.new(RANK, 1.0).parameters())
    assert needs(found, {}, "cpu").adapter == ADAPTED_BYTES * numbers


def test_runs_of_a_stack_equal_separate_runs(backbone: AnyBackbone, batch: Batch, draw: Draw) -> None:
    runs = [drawn(backbone, seed) for seed in range(1, RUNS + 1)]
    together = losses(backbone, stack(runs), tile(batch, RUNS), tile_draw(draw, RUNS)).reshape(RUNS, -1)
    apart = torch.stack([losses(backbone, run, batch, draw) for run in runs])
    assert off(together, apart, apart - losses(backbone, None, batch, draw)) < CLOSE


def test_gradients_of_single_samples_equal_those_of_samples_alone(
    backbone: AnyBackbone, batch: Batch, draw: Draw
) -> None:
    adapter = drawn(backbone, 1)
    together = per_sample_gradients(backbone, adapter, batch, [draw]).rows
    for sample in range(EXAMPLES):
        index = torch.tensor([sample])
        alone = per_sample_gradients(backbone, adapter, take(batch, index), [part_of(draw, index)]).rows[0]
        assert off(together[sample], alone, alone) < CLOSE


def test_a_tangent_is_the_product_of_each_gradient_and_the_direction(
    backbone: AnyBackbone, batch: Batch, draw: Draw
) -> None:
    adapter, direction = drawn(backbone, 1), drawn(backbone, 2)
    epsilon = torch.zeros(EXAMPLES, requires_grad=True)
    with backbone.lora.use(adapter), backbone.lora.tangent(direction, epsilon):
        (slopes,) = torch.autograd.grad(backbone.loss(batch, draw).sum(), epsilon)
    rows, along = per_sample_gradients(backbone, adapter, batch, [draw]).rows, flat(direction)[0].detach()
    products = rows @ along
    assert off(slopes, products, rows.norm(dim=1) * along.norm()) < CLOSE
