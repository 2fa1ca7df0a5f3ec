"""In every family: passes computed twice, matrices in 8 and 4 bits, dead modules, and peft's choice of modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists

from core.backbones.families import family
from core.backbones.record import BackboneRecord
from core.method.backbones.backbone import Batch, Draw, take
from core.method.backbones.probing import leave_out_dead
from core.method.backbones.quantised import QuantisedLinear
from core.parameters.memory import Precision
from tests.families.conftest import drawn
from tests.families.images import SIDE

if TYPE_CHECKING:
    from core.method.backbones.images.diffusion import DiffusionBackbone
    from core.method.backbones.texts.language import LanguageBackbone

    AnyBackbone = DiffusionBackbone | LanguageBackbone
Load = Callable[..., "AnyBackbone"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def load(record: BackboneRecord) -> Load:
    """Load the family's backbone anew, with options of memory."""
    from core.method.backbones.images.diffusion import DiffusionBackbone
    from core.method.backbones.texts.language import LanguageBackbone

    def loaded(*, precision: Precision | None = None, checkpointing: bool = False) -> AnyBackbone:
        options = {"precision": precision, "checkpointing": checkpointing, "target_modules": record.target_modules}
        if record.kind == "texts":
            return LanguageBackbone.load(record.path, max_tokens=128, **options)
        return DiffusionBackbone.load(record.path, form=family(record.family).form, resolution=SIDE, **options)

    return loaded


def gradients(backbone: AnyBackbone, batch: Batch, draw: Draw) -> list[torch.Tensor]:
    adapter = drawn(backbone, 1).expand(3)
    with backbone.lora.use(adapter, samples=3):
        return list(torch.autograd.grad(backbone.loss(batch, draw).sum(), adapter.parameters()))


def test_passes_computed_twice_give_the_same_gradients(
    backbone: AnyBackbone, load: Load, batch: Batch, draw: Draw
) -> None:
    once, twice = gradients(backbone, batch, draw), gradients(load(checkpointing=True), batch, draw)
    assert all(torch.equal(one, other) for one, other in zip(once, twice, strict=True))


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_adapters_learn_on_matrices_of_few_bits(load: Load, batch: Batch, draw: Draw, precision: Precision) -> None:
    backbone = load(precision=precision)
    bases = [type(layer.base) for layer in backbone.lora.layers.values() if not layer.convolution]
    assert set(bases) == {QuantisedLinear}
    assert all(bool(gradient.any()) for gradient in gradients(backbone, batch, draw))


def test_nothing_that_is_usually_adapted_is_dead(load: Load, batch: Batch) -> None:
    assert leave_out_dead(load(), take(batch, torch.arange(2))) == ()


def test_peft_chooses_the_same_modules(backbone: AnyBackbone, tmp_path: Path) -> None:
    lora = backbone.lora
    config = LoraConfig(target_modules=lora.peft_targets())
    paths = [path.removesuffix(".base") for path, _ in lora.model.named_modules()]
    assert {path for path in paths if check_target_module_exists(config, path)} == set(lora.layers)
