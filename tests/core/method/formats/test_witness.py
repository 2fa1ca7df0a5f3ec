"""What files are compared by: in whole float32, where there is room, and never a network twice."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.errors import JobFailure
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats.witness import device_with_room, in_float32, whole_float32
from tests.core.method.formats.test_formats import drawn, image_witness, text_witness

GIB = 2**30


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_networks_are_compared_without_tf32_and_trainings_flags_come_back(tiny_diffusion: DiffusionBackbone) -> None:
    before, seen = flags(), []
    tiny_diffusion.network.register_forward_pre_hook(lambda *_: seen.append(flags()))
    image_witness(tiny_diffusion, drawn(tiny_diffusion))  # its copies keep the hook
    assert set(seen) == {(False, False)}
    assert flags() == before
    with pytest.raises(ZeroDivisionError), whole_float32():
        _ = 1 / 0
    assert flags() == before


def test_a_copy_in_float32_keeps_what_is_tied_and_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False), nn.BatchNorm1d(5)).bfloat16()
    network[1].weight = network[0].weight
    copied = in_float32(network, torch.device("cpu"))
    assert {part.dtype for part in copied.parameters()} == {torch.float32}
    assert copied[1].weight is copied[0].weight
    assert copied[2].num_batches_tracked.dtype == torch.int64
    assert network[0].weight.dtype == torch.bfloat16
    copied[0].weight.data.zero_()
    assert network[0].weight.abs().sum() > 0


@pytest.mark.parametrize(("free", "place"), [(40, "cuda"), (2, "cpu")])
def test_a_copy_goes_to_the_cpu_where_a_gpu_has_no_room(free: int, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
