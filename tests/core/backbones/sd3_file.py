"""A transformer of Stable Diffusion 3 alone in one file, written from diffusers' own: the way back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

AROUND = {
    "pos_embed.pos_embed": "pos_embed",
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
}
INSIDE = {
    "to_out.0": "x_block.attn.proj",
    "to_add_out": "context_block.attn.proj",
    "norm_q": "x_block.attn.ln_q",
    "norm_k": "x_block.attn.ln_k",
    "norm_added_q": "context_block.attn.ln_q",
    "norm_added_k": "context_block.attn.ln_k",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
JOINED = {"x_block": ("to_q", "to_k", "to_v"), "context_block": ("add_q_proj", "add_k_proj", "add_v_proj")}


def write_sd3(transformer: Any, file: Path, prefix: str = "", metadata: dict[str, str] | None = None) -> Path:
    """Write the file, with what checkpoints with other parts have before each name."""
    from safetensors.torch import save_file

    tensors = published(transformer.state_dict(), transformer.config.num_layers)
    save_file({prefix + name: each.contiguous() for name, each in tensors.items()}, file, metadata=metadata)
    return file


def published(own: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    import torch

    found: dict[str, Tensor] = {}
    for name, tensor in own.items():
        path, end = name.rpartition(".")[::2] if not name.endswith("pos_embed") else (name, "")
        block = re.fullmatch(r"transformer_blocks\.(\d+)\.(?:(attn2?)\.)?(.+)", path)
        swapped = path == "norm_out.linear" or path == f"transformer_blocks.{layers - 1}.norm1_context.linear"
        tensor = torch.cat(tensor.chunk(2)[::-1]) if swapped else tensor
        if block is None:
            found[".".join(filter(None, (AROUND.get(path, path), end)))] = tensor
        elif block[3] in INSIDE:
            inside = INSIDE[block[3]].replace(".attn.", f".{block[2]}.")
            found[f"joint_blocks.{block[1]}.{inside}.{end}"] = tensor
        for stream, parts in JOINED.items():
            if block is not None and block[3] == parts[0]:
                whole = torch.cat([own[name.replace(parts[0], part)] for part in parts])
                found[f"joint_blocks.{block[1]}.{stream}.{block[2]}.qkv.{end}"] = whole
    return found
