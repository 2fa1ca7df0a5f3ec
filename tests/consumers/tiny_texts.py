"""Random models of two to four layers in the true architecture of each family that llama.cpp takes an adapter of.

What llama.cpp takes for granted is so here: queries are scaled by a head's size, the weights of experts sum to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from core.method.backbones.texts.language import LanguageBackbone
from tests.tiny_backbones import letter_tokenizer

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
DENSE = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
FUSED = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
LINEAR = ("in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj")
TOKENS = 50
SIZES: Mapping[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
GEMMA = {"head_dim": 16, "tie_word_embeddings": True, "sliding_window": 24, "num_hidden_layers": 6}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QWEN35 = {
    "head_dim": 16,
    "num_hidden_layers": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
        "partial_rotary_factor": 0.5,
    },
}


YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale_all_dim": 1.0,
    "mscale": 1.0,
    "llama_4_scaling_beta": 0.1,
}
GEMMA4 = {
    **GEMMA,
    "global_head_dim": 32,
    "vocab_size_per_layer_input": 96,
    "hidden_size_per_layer_input": 0,
    "final_logit_softcapping": 30.0,
}


@dataclass(frozen=True)
class Tiny:
    """A family: the class of its models, what its configuration has beside the usual sizes, and what is adapted."""

    name: str  # of the class, without its ending
    more: Mapping[str, Any]
    targets: Sequence[str] = DENSE
    tolerance: float = 1e-4  # relative to the adapter's effect

    @property
    def root(self) -> str:
        """The class that a folder's config.json names."""
        return f"{self.name.removesuffix('Text')}ForCausalLM"

    def model(self) -> PreTrainedModel:
        torch.manual_seed(0)
        config = getattr(transformers, f"{self.name}Config")(**{**SIZES, **self.more})
        return getattr(transformers, self.root)(config).eval()


class TinyWithEyes(Tiny):
    """A family whose models also look at pictures, with a vision tower that stays as it is."""

    @property
    def root(self) -> str:
        return f"{self.name}ForConditionalGeneration"

    def model(self) -> PreTrainedModel:
        torch.manual_seed(0)
        made = getattr(transformers, f"{self.name}Config")(
            text_config={**SIZES, **self.more["text"]}, vision_config=self.more["eyes"]
        )
        return getattr(transformers, self.root)(made).eval()


FAMILIES: Mapping[str, Tiny] = {
    "llama": Tiny("Llama", {}),
    "mistral": Tiny("Mistral", {"head_dim": 24, "sliding_window": None}),
    "qwen2": Tiny("Qwen2", {}),
    "qwen3": Tiny("Qwen3", {"head_dim": 24}),
    "qwen3_moe": Tiny(
        "Qwen3Moe",
        {
            "head_dim": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "norm_topk_prob": True,
        },
        ATTENTION,
    ),
    "qwen3_5_text": Tiny("Qwen3_5Text", QWEN35, (*DENSE, *LINEAR)),
    "gemma2": Tiny("Gemma2", {**GEMMA, "query_pre_attn_scalar": 16}, tolerance=1e-3),
    "gemma3_text": Tiny("Gemma3Text", {**GEMMA, "query_pre_attn_scalar": 16}, tolerance=1e-3),
    "gemma4_text": Tiny("Gemma4Text", GEMMA4, tolerance=1e-3),
    "phi3": Tiny("Phi3", {"sliding_window": 256, "original_max_position_embeddings": 256}, FUSED),
    "olmo2": Tiny("Olmo2", {}),
    "olmo3": Tiny("Olmo3", {"num_hidden_layers": 4, "sliding_window": 24}),
    "smollm3": Tiny("SmolLM3", {"num_hidden_layers": 4, "no_rope_layer_interval": 4}),
    "granite": Tiny(
        "Granite",
        {"attention_multiplier": 0.25, "embedding_multiplier": 2.0, "residual_multiplier": 0.5, "logits_scaling": 2.0},
    ),
    "gpt_oss": Tiny(
        "GptOss",
        {
            "head_dim": 16,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 24,
            "intermediate_size": 64,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        ATTENTION,
    ),
    "gemma4": TinyWithEyes(
        "Gemma4",
        {
            "text": {
                **GEMMA4,
                "num_hidden_layers": 4,
                "layer_types": ["sliding_attention", "full_attention"] * 2,
                "num_kv_shared_layers": 2,
                "hidden_size_per_layer_input": 8,
            },
            "eyes": VISION,
        },
        tolerance=1e-3,
    ),
    "gemma3": TinyWithEyes("Gemma3", {"text": {**GEMMA, "query_pre_attn_scalar": 16}, "eyes": VISION}, tolerance=1e-3),
    "ministral3": Tiny("Ministral3", {"head_dim": 16, "rope_parameters": YARN}),
    "mistral3": TinyWithEyes(
        "Mistral3", {"text": {"model_type": "mistral", "head_dim": 16, "sliding_window": None}, "eyes": VISION}
    ),
    "qwen3_5": TinyWithEyes(
        "Qwen3_5",
        {
            "text": QWEN35,
            "eyes": {"hidden_size": 32, "intermediate_size": 64, "depth": 1, "num_heads": 2, "out_hidden_size": 64},
        },
        (*DENSE, *LINEAR),
    ),
}


class TableGelu(torch.nn.Module):
    """GELU as llama.cpp computes it on a CPU: from a table of float16, and exact beyond it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        looked_up = torch.nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, torch.zeros(()), torch.where(x >= 10, x, looked_up))


def tiny(family: str) -> LanguageBackbone:
    """Return a random backbone of a family; only its network is used, so it spells."""
    chosen = FAMILIES[family]
    model = chosen.model()
    for layer in model.modules():
        if type(getattr(layer, "act_fn", None)).__name__ == "GELUTanh":
            layer.act_fn = TableGelu()
    within = [
        path
        for path, _ in model.named_modules()
        if ".layers." in path and "vision" not in path and path.endswith(tuple(chosen.targets))
    ]
    letters = letter_tokenizer(["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"])
    return LanguageBackbone(model, letters, max_tokens=TOKENS, target_modules=within)
