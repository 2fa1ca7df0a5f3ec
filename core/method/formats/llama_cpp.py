"""What llama.cpp calls the modules of a family, and in which order it keeps their rows and columns.

Every row of the table was held against llama.cpp itself: the logits of a random model with an adapter. A file for any
other family could load and still be wrong, so there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PretrainedConfig

LAYER = re.compile(r"model\.(?:language_model\.)?layers\.(\d+)\.(.+)")
ATTENTION: dict[str, str] = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
DENSE: dict[str, str] = ATTENTION | {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
FUSED: dict[str, str] = {
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
DELTA_NET: dict[str, str] = {
    "linear_attn.in_proj_qkv": "attn_qkv",
    "linear_attn.in_proj_z": "attn_gate",
    "linear_attn.in_proj_a": "ssm_alpha",
    "linear_attn.in_proj_b": "ssm_beta",
    "linear_attn.out_proj": "ssm_out",
}


@dataclass(frozen=True)
class Architecture:
    """A family as llama.cpp knows it: its name there, and what it calls the modules of a layer.

    Where it is `permuted`, it turns neighbouring pairs of a head's rows where transformers turns halves, so that the
    rows of queries and keys are kept in another order.
    """

    name: str
    modules: Mapping[str, str]
    permuted: bool = False


GEMMA3, GEMMA4 = Architecture("gemma3", DENSE), Architecture("gemma4", DENSE)
MISTRAL3 = Architecture("mistral3", DENSE, permuted=True)
QWEN35 = Architecture("qwen35", DENSE | DELTA_NET)
# by transformers' model_type of the whole model
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", DENSE, permuted=True),
    "mistral": Architecture("llama", DENSE, permuted=True),
    "mistral3": MISTRAL3,
    "ministral3": MISTRAL3,
    "qwen2": Architecture("qwen2", DENSE),
    "qwen3": Architecture("qwen3", DENSE),
    "qwen3_moe": Architecture("qwen3moe", ATTENTION),  # the experts are no modules
    "qwen3_5": QWEN35,
    "qwen3_5_text": QWEN35,
    "gemma2": Architecture("gemma2", DENSE),
    "gemma3": GEMMA3,
    "gemma3_text": GEMMA3,
    "gemma4": GEMMA4,
    "gemma4_text": GEMMA4,
    "phi3": Architecture("phi3", FUSED),
    "olmo2": Architecture("olmo2", DENSE),
    "olmo3": Architecture("olmo2", DENSE),
    "smollm3": Architecture("smollm3", DENSE, permuted=True),
    "granite": Architecture("granite", DENSE, permuted=True),
    "gpt_oss": Architecture("gpt-oss", ATTENTION),
}


def tensor_name(architecture: Architecture, path: str) -> str | None:
    """Return what llama.cpp calls a module's weight; None where it knows no such module."""
    found = LAYER.fullmatch(path)
    known = architecture.modules.get(found[2]) if found else None
    return f"blk.{found[1]}.{known}.weight" if found and known else None


def rows(architecture: Architecture, config: PretrainedConfig, path: str, count: int) -> Tensor | None:
    """Return transformers' places of a weight's rows in llama.cpp's order; None where both have the same."""
    text = config.get_text_config()
    ending = path.rpartition(".")[2]
    if architecture.permuted and ending in ("q_proj", "k_proj"):
        heads = text.num_attention_heads if ending == "q_proj" else text.num_key_value_heads
        return torch.arange(count).reshape(heads, 2, -1).swapaxes(1, 2).flatten()
    if "linear_attn" not in path or ending == "out_proj":
        return None
    if ending == "in_proj_qkv":  # only the values come after one another
        before = 2 * text.linear_num_key_heads * text.linear_key_head_dim
        return torch.cat([torch.arange(before), before + _tiled(text, count - before)])
    return _tiled(text, count)


def columns(config: PretrainedConfig, path: str, count: int) -> Tensor | None:
    """Return transformers' places of a weight's columns in llama.cpp's order; None where both have the same."""
    return _tiled(config.get_text_config(), count) if path.endswith("linear_attn.out_proj") else None


def _tiled(text: PretrainedConfig, count: int) -> Tensor:
    """Return the heads of values with the first of every key head first, not with all of one key head first."""
    return (
        torch.arange(count)
        .reshape(text.linear_num_key_heads, -1, count // text.linear_num_value_heads)
        .swapaxes(0, 1)
        .flatten()
    )
