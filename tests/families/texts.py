"""Tiny folders of every text family: its true architecture and its way to write a chat, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SMALL: Mapping[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
TIED = {"tie_word_embeddings": True}
HEADS_OF_8 = {"head_dim": 8}
ONLY_SLIDING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 64}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{{ '<bos>' }}{% for message in messages %}{{ '<|start|>' + message.role + '<|end|>\n\n' }}"
    "{{ message.content | trim }}{{ '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ '<bos>' }}{% for message in messages %}"
    "{% if message.role == 'user' %}{{ '[INST] ' + message.content + ' [/INST]' }}"
    "{% elif message.role == 'assistant' %}{{ ' ' + message.content + '</s>' }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ '<bos>' }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{{ '<start>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}"
    "{{ message.content | trim }}{{ '<end>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start>model\n' }}{% endif %}"
)
PHI_3 = (
    "{% for message in messages %}{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ '</s>' }}{% endif %}"
)
SPECIAL = (
    "<pad>",
    "</s>",
    "<bos>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start|>",
    "<|end|>",
    "<|eot|>",
    "<start>",
    "<end>",
)


@dataclass(frozen=True)
class TextFamily:
    """A family as transformers has it: its model_type, what its tiny configuration says, and its chat template."""

    model_type: str
    template: str
    config: Mapping[str, Any] = field(default_factory=dict)
    end: str = "</s>"
    adapted: int = 14  # modules
    eyes: Mapping[str, Any] | None = None  # the configuration of its vision tower, where it reads pictures too
    text_type: str | None = None  # then, the model_type of its language part


MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "norm_topk_prob": True}
EXACT_GEMMA = {**HEADS_OF_8, "query_pre_attn_scalar": 8, **ONLY_SLIDING}
LINEAR_ATTENTION = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
# Ministral 3 scales its queries by how far a text has come
FAR_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 32,
    "llama_4_scaling_beta": 0.1,
}
SEEING = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
SIGLIP = {"model_type": "siglip_vision_model", **SEEING}
QWEN_VISION = {"hidden_size": 16, "intermediate_size": 32, "depth": 1, "num_heads": 2, "out_hidden_size": 32}
TEXTS: Mapping[str, TextFamily] = {
    "llama": TextFamily("llama", LLAMA_3, end="<|eot|>"),
    "llama-tied": TextFamily("llama", LLAMA_3, TIED, end="<|eot|>"),
    "qwen2": TextFamily("qwen2", CHATML, end="<|im_end|>"),
    "qwen3": TextFamily("qwen3", CHATML, HEADS_OF_8, end="<|im_end|>"),
    "qwen3-moe": TextFamily("qwen3_moe", CHATML, {**HEADS_OF_8, **MOE}, end="<|im_end|>", adapted=8),
    "mistral": TextFamily("mistral", MISTRAL),
    "mistral3": TextFamily("ministral3", MISTRAL, {**HEADS_OF_8, "rope_parameters": FAR_ROPE}),
    "gemma2": TextFamily("gemma2", GEMMA, {**TIED, **EXACT_GEMMA}, end="<end>"),
    "gemma3": TextFamily("gemma3_text", GEMMA, {**TIED, **EXACT_GEMMA}, end="<end>"),
    "phi3": TextFamily("phi3", PHI_3, end="<|end|>", adapted=8),
    "olmo2": TextFamily("olmo2", CHATML, end="<|im_end|>"),
    "smollm3": TextFamily("smollm3", CHATML, end="<|im_end|>"),
    "gpt-oss": TextFamily(
        "gpt_oss", CHATML, {**HEADS_OF_8, **ONLY_SLIDING, "num_local_experts": 4, "num_experts_per_tok": 2}, adapted=8
    ),
    "gemma3-vision": TextFamily(
        "gemma3", GEMMA, {**TIED, **EXACT_GEMMA}, end="<end>", eyes=SIGLIP, text_type="gemma3_text"
    ),
    "mistral3-vision": TextFamily("mistral3", MISTRAL, HEADS_OF_8, eyes=SEEING, text_type="mistral"),
    "qwen3.5-vision": TextFamily(
        "qwen3_5",
        CHATML,
        {**HEADS_OF_8, **LINEAR_ATTENTION},
        end="<|im_end|>",
        adapted=13,
        eyes=QWEN_VISION,
        text_type="qwen3_5_text",
    ),
    "gemma4": TextFamily(
        "gemma4_text",
        GEMMA,
        {**TIED, **HEADS_OF_8, "global_head_dim": 8, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0}
        | ONLY_SLIDING,
        end="<end>",
    ),
    "qwen3.5": TextFamily("qwen3_5_text", CHATML, {**HEADS_OF_8, **LINEAR_ATTENTION}, end="<|im_end|>", adapted=13),
    "olmo3": TextFamily("olmo3", CHATML, ONLY_SLIDING, end="<|im_end|>"),
    "granite": TextFamily("granite", CHATML, end="<|im_end|>"),
}


def write_texts(id: str, folder: Path) -> Path:
    """Write a folder of the family with random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    row = TEXTS[id]
    tokenizer(row).save_pretrained(folder)
    known = tokens()
    marks = {"bos_token_id": known.index("<bos>"), "eos_token_id": known.index(row.end), "pad_token_id": 0}
    said = {"vocab_size": len(known), **SMALL, **row.config, **marks}
    if row.eyes is not None:
        inner = {"text_config": {**said, "model_type": row.text_type}, "vision_config": dict(row.eyes)}
        outer = {name: said[name] for name in ("eos_token_id", "tie_word_embeddings")}
        said = {**inner, **outer, "mm_tokens_per_image": 4}
    torch.manual_seed(0)
    config = AutoConfig.for_model(row.model_type, **said)
    loader = AutoModelForCausalLM if row.eyes is None else AutoModelForImageTextToText
    loader.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder


def tokenizer(row: TextFamily) -> Any:
    """Return a tokenizer of bytes that writes a chat as the family does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens())}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=row.end, pad_token="<pad>")
    made.chat_template = row.template
    return made


def tokens() -> list[str]:
    """All tokens: the marks of the chat templates, then the bytes as byte-level vocabularies write them."""
    from tokenizers import pre_tokenizers

    return [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
