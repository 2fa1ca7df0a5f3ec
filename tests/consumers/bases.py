"""Bases for llama.cpp: a transformers model as a GGUF file in float32, with token ids only and no vocabulary.

What is written is what llama.cpp's own converter writes of the same folder, by its rules; the names are gguf's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

ARCHITECTURES = {
    "ministral3": "mistral3",
    "mistral": "llama",
    "qwen3_moe": "qwen3moe",
    "qwen3_5": "qwen35",
    "qwen3_5_text": "qwen35",
    "gemma3_text": "gemma3",
    "gemma4_text": "gemma4",
    "olmo3": "olmo2",
    "gpt_oss": "gpt-oss",
}
IN_PAIRS = ("llama", "mistral3", "smollm3", "granite")  # queries and keys
NORMS_BESIDE_ONE = ("gemma2", "gemma3", "qwen35")
Named = tuple[str, Tensor]


def write_base(model: PreTrainedModel, file: Path) -> None:
    """Write the language tower of a model as llama.cpp wants it."""
    text = model.config.get_text_config()
    architecture = ARCHITECTURES.get(model.config.model_type, model.config.model_type)
    writer = gguf.GGUFWriter(file, architecture)
    usual_facts(writer, text)
    MORE_FACTS.get(architecture, lambda writer, text: None)(writer, text)
    number = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, text.num_hidden_layers)
    for path, tensor in tower(model):
        for place, values in converted(architecture, text, path, tensor):
            name = names.get_name(place, try_suffixes=(".weight", ".bias"))
            assert name is not None, place
            writer.add_tensor(name, values.float().contiguous().numpy())
    if architecture == "gemma4":
        writer.add_tensor("rope_freqs.weight", proportional(text).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tower(model: PreTrainedModel) -> Iterator[Named]:
    """Yield the tensors of the language tower under the names of a model without another one."""
    tied = model.config.get_text_config().tie_word_embeddings or model.config.tie_word_embeddings
    for name, tensor in model.state_dict().items():
        if (
            (name == "lm_head.weight" and tied)
            or "vision" in name
            or "visual" in name
            or "multi_modal" in name
            or "rotary" in name
        ):
            continue
        yield name.replace("language_model.", ""), tensor.float()


def head_size(text: PretrainedConfig, layer: int = -1) -> int:
    """Return the size of a head, which in Gemma 4 is another one where all tokens are attended to, as at the end."""
    if text.model_type == "gemma4_text":
        text = text.per_layer_config[layer % text.num_hidden_layers]
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def theta(text: PretrainedConfig) -> dict[str, Any]:
    return text.rope_parameters.get("full_attention", text.rope_parameters)


def usual_facts(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    writer.add_block_count(text.num_hidden_layers)
    writer.add_context_length(text.max_position_embeddings)
    writer.add_embedding_length(text.hidden_size)
    writer.add_feed_forward_length(text.intermediate_size)
    writer.add_head_count(text.num_attention_heads)
    writer.add_head_count_kv(text.num_key_value_heads)
    writer.add_layer_norm_rms_eps(text.rms_norm_eps)
    writer.add_rope_freq_base(theta(text)["rope_theta"])
    writer.add_rope_dimension_count(turned(text))
    writer.add_key_length(head_size(text))
    writer.add_value_length(head_size(text))
    writer.add_vocab_size(text.vocab_size)
    writer.add_tokenizer_model("no_vocab")


def turned(text: PretrainedConfig) -> int:
    """Return how many places of a head are turned by where a token stands."""
    share = 1 if text.model_type == "gemma4_text" else theta(text).get("partial_rotary_factor", 1)
    return int(head_size(text) * share)


def gemma2(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    writer.add_sliding_window(text.sliding_window)
    writer.add_attn_logit_softcapping(text.attn_logit_softcapping)
    writer.add_final_logit_softcapping(text.final_logit_softcapping)


def gemma4(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    sliding(writer, text)
    writer.add_final_logit_softcapping(text.final_logit_softcapping)
    writer.add_shared_kv_layers(text.num_kv_shared_layers)
    writer.add_embedding_length_per_layer_input(text.hidden_size_per_layer_input or 0)
    writer.add_key_length_swa(head_size(text, 0))
    writer.add_value_length_swa(head_size(text, 0))
    writer.add_rope_dimension_count_swa(head_size(text, 0))


def sliding(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    writer.add_sliding_window(text.sliding_window)
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in text.layer_types])


def olmo(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    if getattr(text, "layer_types", None):
        sliding(writer, text)


def phi3(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    writer.add_rope_scaling_orig_ctx_len(text.original_max_position_embeddings)
    writer.add_sliding_window(text.sliding_window)


def qwen3moe(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    writer.add_expert_count(text.num_experts)
    writer.add_expert_used_count(text.num_experts_per_tok)
    writer.add_expert_feed_forward_length(text.moe_intermediate_size)


def gpt_oss(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    writer.add_sliding_window(text.sliding_window)
    writer.add_expert_count(text.num_local_experts)
    writer.add_expert_used_count(text.num_experts_per_tok)
    writer.add_expert_feed_forward_length(text.intermediate_size)


def granite(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    writer.add_attention_scale(text.attention_multiplier)
    writer.add_embedding_scale(text.embedding_multiplier)
    writer.add_residual_scale(text.residual_multiplier)
    writer.add_logit_scale(text.logits_scaling)


def qwen35(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    writer.add_ssm_conv_kernel(text.linear_conv_kernel_dim)
    writer.add_ssm_state_size(text.linear_key_head_dim)
    writer.add_ssm_group_count(text.linear_num_key_heads)
    writer.add_ssm_time_step_rank(text.linear_num_value_heads)
    writer.add_ssm_inner_size(text.linear_value_head_dim * text.linear_num_value_heads)
    writer.add_full_attention_interval(text.layer_types.index("full_attention") + 1)
    writer.add_rope_dimension_sections([*text.rope_parameters["mrope_section"], 0])


def mistral3(writer: gguf.GGUFWriter, text: PretrainedConfig) -> None:
    rope = text.rope_parameters
    if rope["rope_type"] != "yarn":
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
    writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
    writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])


MORE_FACTS: Mapping[str, Callable[[gguf.GGUFWriter, PretrainedConfig], None]] = {
    "gemma2": gemma2,
    "gemma3": lambda writer, text: writer.add_sliding_window(text.sliding_window),
    "gemma4": gemma4,
    "olmo2": olmo,
    "phi3": phi3,
    "qwen3moe": qwen3moe,
    "gpt-oss": gpt_oss,
    "mistral3": mistral3,
    "granite": granite,
    "qwen35": qwen35,
}


def converted(architecture: str, text: PretrainedConfig, path: str, tensor: Tensor) -> Iterator[Named]:
    """Yield what becomes of a tensor: another order, another number, or two of them."""
    if architecture in IN_PAIRS and path.endswith(("q_proj.weight", "k_proj.weight")):
        heads = text.num_attention_heads if "q_proj" in path else text.num_key_value_heads
        tensor = tensor.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
    if architecture in NORMS_BESIDE_ONE and path.endswith("norm.weight") and "linear_attn.norm" not in path:
        tensor = tensor + 1
    if "experts." in path:
        yield from experts(architecture, path, tensor)
    elif "linear_attn." in path:
        yield linear_attention(text, path, tensor)
    elif path.endswith(("sinks", "layer_scalar")):
        yield f"{path}.weight", tensor
    else:
        yield path, tensor


def experts(architecture: str, path: str, tensor: Tensor) -> Iterator[Named]:
    """Yield the experts of a layer as llama.cpp keeps them: gates and values apart, and outputs before inputs."""
    path, bias = path.removesuffix("_bias"), path.endswith("_bias")
    ending = "bias" if bias else "weight"
    if architecture == "gpt-oss" and not bias:
        tensor = tensor.transpose(1, 2)
    if not path.endswith("gate_up_proj"):
        yield f"{path}.{ending}", tensor
        return
    halves = (tensor[:, 0::2], tensor[:, 1::2]) if architecture == "gpt-oss" else tensor.chunk(2, 1)
    for name, half in zip(("gate_proj", "up_proj"), halves, strict=True):
        yield f"{path.removesuffix('gate_up_proj')}{name}.{ending}", half


def linear_attention(text: PretrainedConfig, path: str, tensor: Tensor) -> Named:
    """Return a tensor of a gated delta net, whose heads of values llama.cpp keeps by turns of the keys' heads."""
    keys, values = text.linear_num_key_heads, text.linear_num_value_heads
    before = 2 * keys * text.linear_key_head_dim if "in_proj_qkv" in path or "conv1d" in path else 0
    if path.endswith("conv1d.weight"):
        tensor = tensor.squeeze(1)
    if path.endswith("A_log"):
        tensor = -tensor.exp()
    if "out_proj" in path:
        tensor = by_turns(tensor.T, keys, values).T
    elif "norm" not in path:
        tensor = torch.cat([tensor[:before], by_turns(tensor[before:], keys, values)])
    return path.replace(".dt_bias", ".dt_proj.bias"), tensor


def by_turns(tensor: Tensor, keys: int, values: int) -> Tensor:
    return tensor.unflatten(0, (keys, values // keys, -1)).transpose(0, 1).flatten(0, 2)


def proportional(text: PretrainedConfig) -> Tensor:
    """Return what Gemma 4's angles are divided by: all but the first of them are not turned."""
    half = head_size(text) // 2
    first = int(half * theta(text)["partial_rotary_factor"])
    return torch.tensor([1.0] * first + [1e30] * (half - first))
