"""Kohya's names of FLUX.1: what diffusers reads from a file of them is the adapter to the bit, at FLUX's own width."""

from __future__ import annotations

import re

import torch
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers as read_by_diffusers
from torch import Tensor, nn

from core.method.formats.kohya_flux import WIDTH, joined, published
from core.method.formats.kohya_names import KNOWN, PREFIX
from tests.core.method.lora import networks

RANK = 2
OUTPUTS = {"proj_mlp": 4, "ff.net.0.proj": 4, "ff_context.net.0.proj": 4, "norm.linear": 3}  # times the width
OUTPUTS |= {"norm1.linear": 6, "norm1_context.linear": 6}
INPUTS = {"ff.net.2": 4, "ff_context.net.2": 4, "proj_out": 5}


def linears() -> list[str]:
    """All linear layers in the blocks of FLUX.1, of which there is one of each kind."""
    network = networks.flux()
    paths = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    return [path for path in paths if re.search(r"transformer_blocks\.0\.", path)]


def halves(path: str) -> tuple[Tensor, Tensor]:
    inside = path.split(".", 2)[2]
    inputs, outputs = INPUTS.get(inside, 1) * WIDTH, OUTPUTS.get(inside, 1) * WIDTH
    return torch.randn(RANK, inputs), torch.randn(outputs, RANK)


def file_of(adapter: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors that a file of kohya's names has of an adapter of whole blocks."""
    tensors = {}
    for name, parts in dict.fromkeys(map(published, adapter)):
        down, up = joined([adapter[part] for part in parts])
        tensors |= {f"{PREFIX}{name}.lora_down.weight": down, f"{PREFIX}{name}.lora_up.weight": up}
        tensors[f"{PREFIX}{name}.alpha"] = torch.tensor(float(len(down)))
    return tensors


def test_diffusers_reads_the_very_same_matrices_at_the_width_of_flux() -> None:
    torch.manual_seed(0)
    adapter = {path: halves(path) for path in linears()}
    assert len(adapter) == 14 + 6
    read = read_by_diffusers(file_of(adapter))
    assert len(read) == 2 * len(adapter)
    for path, (down, up) in adapter.items():
        assert torch.equal(read[f"transformer.{path}.lora_A.weight"], down)
        assert torch.equal(read[f"transformer.{path}.lora_B.weight"], up)


def test_a_joined_matrix_does_what_its_parts_do_one_below_the_other() -> None:
    parts = [(torch.randn(2, 8), torch.randn(rows, 2)) for rows in (3, 5, 4)]
    down, up = joined(parts)
    assert (down.shape, up.shape) == ((6, 8), (12, 6))
    torch.testing.assert_close(up @ down, torch.cat([part @ below for below, part in parts]))


def test_every_layer_of_a_block_has_the_name_that_it_was_published_with_and_others_have_none() -> None:
    names = {published(path)[0] for path in linears()}
    double = ["attn_qkv", "attn_proj", "mlp_0", "mlp_2", "mod_lin"]
    expected = {f"double_blocks_0_{stream}_{each}" for stream in ("img", "txt") for each in double}
    assert names == expected | {"single_blocks_0_linear1", "single_blocks_0_linear2", "single_blocks_0_modulation_lin"}
    assert all(KNOWN["flux"].fullmatch(PREFIX + name) for name in names)
    for path in ("x_embedder", "proj_out", "norm_out.linear", "time_text_embed.guidance_embedder.linear_1"):
        name, parts = published(path)
        assert KNOWN["flux"].fullmatch(PREFIX + name) is None
        assert parts == (path,)
