"""The file for llama.cpp: an adapter in GGUF.

llama.cpp rotates neighbouring pairs of a head's rows where transformers rotates halves, so the rows of B of queries and
keys are put in its order for architecture llama.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import torch
from torch import Tensor

from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats.witness import Change, Witness, failure, folded, loading
from core.method.lora.adapter import Adapter

FILE = "adapter.gguf"
TYPE, ALPHA = "adapter.type", "adapter.lora.alpha"
TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.weight\.lora_([ab])")
# what llama.cpp calls the modules of a layer; both architectures agree
MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True)
class Architecture:
    """An architecture of llama.cpp that has been tried: its number, and whether it permutes queries and keys."""

    number: gguf.MODEL_ARCH
    permuted: bool


# by transformers' model_type; one that is not here needs a run of llama.cpp against transformers first
ARCHITECTURES = {
    "llama": Architecture(gguf.MODEL_ARCH.LLAMA, permuted=True),
    "qwen2": Architecture(gguf.MODEL_ARCH.QWEN2, permuted=False),
}


def refusal(backbone: LanguageBackbone) -> str | None:
    """Say why there is no such file for a backbone; None where there is one."""
    family = backbone.model.config.model_type
    if family not in ARCHITECTURES:
        return f"The order of {family}'s weights in llama.cpp is not known here; known are {', '.join(ARCHITECTURES)}."
    known = tuple(MODULES.values())
    unknown = [path for path in backbone.lora.layers if not re.fullmatch(r"model\.layers\.\d+\.(.+)", path)]
    unknown += [path for path in backbone.lora.layers if not path.endswith(known)]
    return f"llama.cpp takes no adapter of the module {unknown[0]}." if unknown else None


def write(backbone: LanguageBackbone, adapter: Adapter, file: Path, name: str, facts: Mapping[str, str]) -> None:
    """Write both halves of each module in float32, with alpha = r; `name` is the backbone's, `facts` more keys."""
    architecture = ARCHITECTURES[backbone.model.config.model_type]
    plain = folded(adapter)
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture.number])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(TYPE, "lora")
    writer.add_float32(ALPHA, plain.alpha)
    writer.add_name(f"LoRA for {name}")
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, name)
    for key, value in facts.items():
        writer.add_string(key, value)
    names = gguf.get_tensor_name_map(architecture.number, backbone.model.config.num_hidden_layers)
    for path in plain.down:
        module = names.get_name(path)
        assert module is not None
        down, up = plain.down[path][0].float().cpu(), plain.up[path][0].detach().float().cpu()
        if architecture.permuted and (heads := _heads(backbone, path)):
            up = interleaved(up, heads)
        writer.add_tensor(f"{module}.weight.lora_a", down.detach().contiguous().numpy())
        writer.add_tensor(f"{module}.weight.lora_b", up.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file.chmod(0o644)


def verify(witness: Witness, file: Path) -> float:
    """Read the file anew, and hold what it changes of each module against the adapter; returns the relative error.

    Raises JobFailure "export_verification_failed" where llama.cpp would not take it, or a change differs.
    """
    backbone = witness.backbone
    assert isinstance(backbone, LanguageBackbone)
    with loading("gguf", "gguf"):
        alpha, halves = _read(gguf.GGUFReader(file), backbone)
    changes = (Change(path, _change(backbone, path, pair, alpha)) for path, pair in halves.items())
    return witness.compare_changes(changes, "gguf")


def interleaved(up: Tensor, heads: int) -> Tensor:
    """Put the rows of every head, (out, r), from halves into neighbouring pairs."""
    rows, rank = up.shape
    return up.reshape(heads, 2, rows // heads // 2, rank).swapaxes(1, 2).reshape(rows, rank)


def _read(reader: gguf.GGUFReader, backbone: LanguageBackbone) -> tuple[float, dict[str, dict[str, Tensor]]]:
    """Return alpha, and both halves of each module as llama.cpp would find them."""
    alpha = _head(reader, backbone)
    halves: dict[str, dict[str, Tensor]] = {}
    for tensor in reader.tensors:
        found = TENSOR.fullmatch(tensor.name)
        if found is None or found[2] not in MODULES:
            raise failure("gguf", f"llama.cpp knows no tensor {tensor.name}")
        path = f"model.layers.{found[1]}.{MODULES[found[2]]}"
        halves.setdefault(path, {})[found[3]] = torch.from_numpy(tensor.data.copy())
    if halves.keys() != backbone.lora.layers.keys() or any(len(pair) != 2 for pair in halves.values()):
        raise failure("gguf", f"it holds {len(halves)} modules, and there are {len(backbone.lora.layers)}")
    return alpha, halves


def _head(reader: gguf.GGUFReader, backbone: LanguageBackbone) -> float:
    """Check what llama.cpp asks for before it looks at a tensor; returns alpha."""
    number = ARCHITECTURES[backbone.model.config.model_type].number
    wanted = {"general.type": "adapter", TYPE: "lora", "general.architecture": gguf.MODEL_ARCH_NAMES[number]}
    for key, value in wanted.items():
        field = reader.get_field(key)
        if field is None or field.contents() != value:
            raise failure("gguf", f"{key} is not {value}")
    field = reader.get_field(ALPHA)
    if field is None or not field.contents() > 0:
        raise failure("gguf", f"{ALPHA} is missing")
    return float(field.contents())


def _change(backbone: LanguageBackbone, path: str, pair: Mapping[str, Tensor], alpha: float) -> Tensor:
    """What llama.cpp adds to the weight of one module, in transformers' order."""
    down, up = pair["a"], pair["b"]
    rows, rank = up.shape
    if ARCHITECTURES[backbone.model.config.model_type].permuted and (heads := _heads(backbone, path)):
        up = up.reshape(heads, rows // heads // 2, 2, rank).swapaxes(1, 2).reshape(rows, rank)
    return alpha / rank * (up @ down)


def _heads(backbone: LanguageBackbone, path: str) -> int:
    """How many heads a module makes the queries or the keys of; 0 for any other module."""
    config = backbone.model.config
    if path.endswith("q_proj"):
        return int(config.num_attention_heads)
    return int(config.num_key_value_heads) if path.endswith("k_proj") else 0
