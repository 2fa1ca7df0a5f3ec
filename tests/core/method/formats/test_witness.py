"""What files are compared by: module by module, and one pass through a network of which nothing is copied."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.errors import JobFailure
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats.witness import device_with_room, whole_float32
from core.method.lora.layer import LoraLayer
from tests.core.method.formats.test_formats import drawn, image_witness, text_witness

GIB = 2**30


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_networks_are_compared_without_tf32_and_trainings_flags_come_back(tiny_diffusion: DiffusionBackbone) -> None:
    before, seen = flags(), []
    tiny_diffusion.network.register_forward_pre_hook(lambda *_: seen.append(flags()))
    image_witness(tiny_diffusion, drawn(tiny_diffusion))
    assert set(seen) == {(False, False)}
    assert flags() == before
    with pytest.raises(ZeroDivisionError), whole_float32():
        _ = 1 / 0
    assert flags() == before


def test_a_fresh_network_has_modules_of_its_own_around_our_tensors(tiny_language: LanguageBackbone) -> None:
    witness = text_witness(tiny_language, drawn(tiny_language))
    fresh, ours = witness.fresh(), tiny_language.model
    assert not any(isinstance(module, LoraLayer) for module in fresh.modules())
    assert {id(part) for part in fresh.parameters()} == {id(part) for part in ours.parameters()}
    assert {id(part) for part in fresh.buffers()} == {id(part) for part in ours.buffers()}
    assert not {id(module) for module in fresh.modules()} & {id(module) for module in ours.modules()}


@pytest.mark.parametrize(("free", "place"), [(40, "cuda"), (2, "cpu")])
def test_what_is_loaded_goes_to_the_cpu_where_a_gpu_has_no_room(
    free: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2 * GIB)
    network = nn.Linear(2**15, 2**15, bias=False, device="meta")  # 4 GiB in float32
    assert device_with_room(network, torch.device("cuda")).type == place
    assert device_with_room(network, torch.device("cpu")).type == "cpu"


def test_an_adapter_below_float32s_own_rounding_is_never_published(tiny_language: LanguageBackbone) -> None:
    adapter = drawn(tiny_language)
    for matrix in adapter.up.values():
        matrix.data *= 1e-9
    with pytest.raises(JobFailure, match="changes nothing"):
        text_witness(tiny_language, adapter)
