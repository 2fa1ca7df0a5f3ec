"""Model folders and checkpoints without a number in them: headers that are true, and holes where weights would be."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

SIZES = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1, "I32": 4, "F8_E4M3": 1}
HIDDEN, INNER, WORDS = 8, 16, 32
PROJECTIONS = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN, HIDDEN),
    "self_attn.v_proj": (HIDDEN, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
Shapes = Mapping[str, Sequence[int]]


def write_weights(
    file: Path, shapes: Shapes, type: str = "BF16", facts: Mapping[str, str] | None = None, **types: str
) -> Path:
    """Write a safetensors file of these tensors whose bytes are a hole; `types` are those of single tensors."""
    header: dict[str, object] = {"__metadata__": dict(facts)} if facts else {}
    end = 0
    for name, shape in shapes.items():
        start, held = end, types.get(name, type)
        end += math.prod(shape) * SIZES[held]
        header[name] = {"dtype": held, "shape": list(shape), "data_offsets": [start, end]}
    content = json.dumps(header).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(content)) + content)
        opened.truncate(8 + len(content) + end)
    return file


def decoder(prefix: str = "model.", layers: int = 2, projections: Shapes = PROJECTIONS) -> dict[str, Sequence[int]]:
    """Return the tensors of a decoder of texts."""
    shapes: dict[str, Sequence[int]] = {f"{prefix}embed_tokens.weight": (WORDS, HIDDEN)}
    for layer in range(layers):
        for name, sides in projections.items():
            shapes[f"{prefix}layers.{layer}.{name}.weight"] = sides
    return shapes


def write_texts(
    folder: Path,
    root: str = "LlamaForCausalLM",
    model_type: str = "llama",
    shapes: Shapes | None = None,
    **config: object,
) -> Path:
    """Write a transformers folder of two layers; `config` goes beside what every config.json says."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {"vocab_size": WORDS, "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": 2}
    content: dict[str, object] = {"architectures": [root], "model_type": model_type, **said, **config}
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}", "pad_token": "<pad>"}))
    write_weights(folder / "model.safetensors", shapes or decoder())
    return folder


def checkpoint(family: str, channels: int = 4, width: int = 320) -> dict[str, Sequence[int]]:
    """Return the first tensors of each part of a single file of Stable Diffusion."""
    encoders = {
        "sd1": ["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"],
        "sd2": ["cond_stage_model.model.token_embedding.weight"],
        "sdxl": [
            "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
            "conditioner.embedders.1.model.token_embedding.weight",
        ],
    }[family]
    return {
        "model.diffusion_model.input_blocks.0.0.weight": (width, channels, 3, 3),
        "first_stage_model.encoder.conv_in.weight": (8, 3, 3, 3),
        **dict.fromkeys(encoders, (WORDS, HIDDEN)),
    }
