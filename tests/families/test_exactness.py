"""In every family of pictures, in float64: stacks, gradients of single samples and tangents to the last digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from core.backbones.record import BackboneRecord
from core.method.backbones.backbone import Batch, Draw, part_of, take, tile, tile_draw
from core.method.lora.adapter import Adapter
from tests.core.method.stacks import stack
from tests.families.conftest import EXAMPLES, drawn
from tests.families.images import IMAGES, SIDE

if TYPE_CHECKING:
    from core.method.backbones.images.diffusion import DiffusionBackbone

pytestmark = pytest.mark.slow
CLOSE = 1e-9  # of the effect
RUNS = 3


@pytest.fixture(scope="module", params=IMAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def exact(record: BackboneRecord) -> DiffusionBackbone:
    """The family's network in float64, where rounding hides nothing."""
    from core.method.backbones.images.diffusion import DiffusionBackbone

    options = {"resolution": SIDE, "target_modules": record.target_modules}
    loaded = DiffusionBackbone.load(record.path, form=record.form, **options)
    loaded.network.double()
    return loaded


def random(backbone: DiffusionBackbone, seed: int) -> Adapter:
    return drawn(backbone, seed)._map(lambda matrix: matrix.detach().double())


def losses(backbone: DiffusionBackbone, adapter: Adapter | None, batch: Batch, draw: Draw) -> Tensor:
    with torch.no_grad(), backbone.lora.use(adapter):
        return backbone.loss(batch, draw)


def gradients(backbone: DiffusionBackbone, adapter: Adapter, batch: Batch, draw: Draw) -> Tensor:
    """Return a row of gradients for each run (R, D)."""
    with backbone.lora.use(adapter, samples=len(draw.noise)):
        found = torch.autograd.grad(backbone.loss(batch, draw).sum(), adapter.parameters())
    return torch.cat([part.flatten(1) for part in found], dim=1)


def off(found: Tensor, wanted: Tensor, effect: Tensor) -> float:
    return float((found - wanted).norm() / effect.norm())


def test_runs_of_a_stack_equal_separate_runs(exact: DiffusionBackbone, batch: Batch, draw: Draw) -> None:
    runs = [random(exact, seed) for seed in range(1, RUNS + 1)]
    together = losses(exact, stack(runs), tile(batch, RUNS), tile_draw(draw, RUNS)).reshape(RUNS, -1)
    apart = torch.stack([losses(exact, run, batch, draw) for run in runs])
    assert off(together, apart, apart - losses(exact, None, batch, draw)) < CLOSE


def test_gradients_of_single_samples_and_tangents_are_those_of_samples_alone(
    exact: DiffusionBackbone, batch: Batch, draw: Draw
) -> None:
    adapter, direction = random(exact, 1), random(exact, 2)
    together = gradients(exact, adapter.expand(EXAMPLES), batch, draw)
    places = [torch.tensor([place]) for place in range(EXAMPLES)]
    alone = [gradients(exact, adapter.expand(1), take(batch, place), part_of(draw, place)) for place in places]
    assert max(off(together[place], row, row) for place, row in zip(places, alone, strict=True)) < CLOSE
    epsilon = torch.zeros(EXAMPLES, dtype=torch.float64, requires_grad=True)
    with exact.lora.use(adapter), exact.lora.tangent(direction, epsilon):
        (slopes,) = torch.autograd.grad(exact.loss(batch, draw).sum(), epsilon)
    along = torch.cat([matrix.flatten() for matrix in direction.parameters()])
    assert off(slopes, together @ along, together.norm(dim=1) * along.norm()) < CLOSE
