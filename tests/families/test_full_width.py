"""The families at their true size, on the meta device: nothing is computed, but all modules are there to be counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from core.backbones.families import FAMILIES

# (family, model_type, what its config.json says, adapted modules, billions of parameters that its publisher names)
LLAMA_8B = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
TEXTS: Mapping[str, tuple[str, str, dict[str, Any], int, float]] = {
    "Llama 3.1 8B": ("llama", "llama", {**LLAMA_8B, "num_key_value_heads": 8, "vocab_size": 128256}, 224, 8.03),
    "Qwen2.5 7B": (
        "qwen2",
        "qwen2",
        {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
        },
        196,
        7.62,
    ),
    "Qwen3 8B": (
        "qwen3",
        "qwen3",
        {
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151936,
        },
        252,
        8.19,
    ),
    "Qwen3 30B-A3B": (
        "qwen3-moe",
        "qwen3_moe",
        {
            "hidden_size": 2048,
            "num_hidden_layers": 48,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "num_experts": 128,
            "moe_intermediate_size": 768,
            "vocab_size": 151936,
        },
        192,
        30.53,
    ),
    "Mistral 7B": ("mistral", "mistral", {**LLAMA_8B, "num_key_value_heads": 8, "vocab_size": 32768}, 224, 7.25),
    "Gemma 2 9B": (
        "gemma2",
        "gemma2",
        {
            "hidden_size": 3584,
            "intermediate_size": 14336,
            "num_hidden_layers": 42,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 256,
            "vocab_size": 256000,
        },
        294,
        9.24,
    ),
    "Gemma 3 270M": (
        "gemma3",
        "gemma3_text",
        {
            "hidden_size": 640,
            "intermediate_size": 2048,
            "num_hidden_layers": 18,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "vocab_size": 262144,
        },
        126,
        0.27,
    ),
    "Phi-3 mini": (
        "phi3",
        "phi3",
        {
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "vocab_size": 32064,
        },
        128,
        3.82,
    ),
    "OLMo 2 7B": (
        "olmo2",
        "olmo2",
        {**LLAMA_8B, "intermediate_size": 11008, "num_key_value_heads": 32, "vocab_size": 100352},
        224,
        7.30,
    ),
    "SmolLM3 3B": (
        "smollm3",
        "smollm3",
        {
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 4,
            "vocab_size": 128256,
            "tie_word_embeddings": True,
        },
        252,
        3.08,
    ),
    "gpt-oss 20B": ("gpt-oss", "gpt_oss", {"num_hidden_layers": 24, "num_local_experts": 32}, 96, 20.91),
}


@pytest.mark.slow
@pytest.mark.parametrize("model", TEXTS)
def test_a_text_model_has_its_modules_and_its_size(model: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from core.method.lora.model import LoraModel

    family, model_type, said, modules, billions = TEXTS[model]
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **said))
    assert round(sum(each.numel() for each in network.parameters()) / 1e9, 2) == billions
    assert len(LoraModel(network, FAMILIES[family].targets).layers) == modules
