"""The names that kohya's scripts give the modules of FLUX.1: those of the layout that it was published in.

That layout has one matrix where diffusers has several: queries, keys and values of a stream, and of a single block
these and the first layer of its feed-forward. Their adapters are joined: A below A, and B block by block on a diagonal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

DOUBLE = {
    "attn.to_out.0": "img_attn_proj",
    "ff.net.0.proj": "img_mlp_0",
    "ff.net.2": "img_mlp_2",
    "norm1.linear": "img_mod_lin",
    "attn.to_add_out": "txt_attn_proj",
    "ff_context.net.0.proj": "txt_mlp_0",
    "ff_context.net.2": "txt_mlp_2",
    "norm1_context.linear": "txt_mod_lin",
}
SINGLE = {"proj_out": "linear2", "norm.linear": "modulation_lin"}
# What is one matrix there, in the order of its rows.
DOUBLE_JOINED = {
    "img_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
SINGLE_JOINED = {"linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")}
JOINED = (1, *sorted({len(parts) for parts in (*DOUBLE_JOINED.values(), *SINGLE_JOINED.values())}))
BLOCK = re.compile(r"(single_)?transformer_blocks\.(\d+)\.(.+)")
WIDTH, DOUBLES, SINGLES = 3072, 19, 38  # of FLUX.1; diffusers reads these names at no other sizes
KNOWN = (
    r"double_blocks_\d+_(?:img|txt)_(?:attn_(?:qkv|proj)|mlp_[02]|mod_lin)"
    r"|single_blocks_\d+_(?:linear[12]|modulation_lin)"
)


def refusal(config: Any) -> str | None:
    """Say why modules of a network of these sides have no names that every reader knows; None where they have."""
    width = config.attention_head_dim * config.num_attention_heads
    if width == WIDTH and config.num_layers <= DOUBLES and config.num_single_layers <= SINGLES:
        return None
    return (
        f"It is {width} wide, with {config.num_layers} and {config.num_single_layers} blocks; diffusers reads kohya's "
        f"names of FLUX.1 where that is {WIDTH}, and {DOUBLES} and {SINGLES} at most."
    )


def published(path: str) -> tuple[str, tuple[str, ...]]:
    """Return the published name of a module, and the modules that make it up there; itself where it has none."""
    found = BLOCK.fullmatch(path)
    if found is None:
        return path.replace(".", "_"), (path,)
    single, number, inside = found.groups()
    block = f"{'single' if single else 'double'}_blocks_{number}"
    for name, parts in (SINGLE_JOINED if single else DOUBLE_JOINED).items():
        if inside in parts:
            before = path.removesuffix(inside)
            return f"{block}_{name}", tuple(before + part for part in parts)
    name = (SINGLE if single else DOUBLE).get(inside, inside.replace(".", "_"))
    return f"{block}_{name}", (path,)


def joined(halves: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return A (n r, in) and B (outs, n r) of one matrix whose rows have adapters A (r, in) and B (out, r) each."""
    return torch.cat([down for down, _ in halves]), torch.block_diag(*(up for _, up in halves))
