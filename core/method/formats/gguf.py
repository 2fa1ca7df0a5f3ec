"""The file for llama.cpp: an adapter in GGUF, under its names and with rows and columns in its order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import torch
from torch import Tensor

from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats import llama_cpp
from core.method.formats.llama_cpp import ARCHITECTURES, tensor_name
from core.method.formats.witness import Change, Witness, failure, folded, loading
from core.method.lora.adapter import Adapter

FILE = "adapter.gguf"
TYPE, ALPHA = "adapter.type", "adapter.lora.alpha"
HALVES = {".lora_a": "a", ".lora_b": "b"}


def refusal(backbone: LanguageBackbone) -> str | None:
    """Say why there is no such file for a backbone; None where there is one."""
    family = backbone.model.config.model_type
    architecture = ARCHITECTURES.get(family)
    if architecture is None:
        known = ", ".join(sorted(ARCHITECTURES))
        return (
            f"What llama.cpp makes of an adapter for {family} was not tried, so nothing is written; tried are {known}."
        )
    unknown = [path for path in backbone.lora.layers if tensor_name(architecture, path) is None]
    return f"llama.cpp takes no adapter of the module {unknown[0]} of {family}." if unknown else None


def write(backbone: LanguageBackbone, adapter: Adapter, file: Path, name: str, facts: Mapping[str, str]) -> None:
    """Write both halves of each module in float32, with alpha = r; `name` is the backbone's, `facts` more keys."""
    config = backbone.model.config
    architecture, plain = ARCHITECTURES[config.model_type], folded(adapter)
    writer = _begun(file, architecture.name, plain.alpha, name, facts)
    for path in plain.down:
        down, up = plain.down[path][0].detach().float().cpu(), plain.up[path][0].detach().float().cpu()
        if (order := llama_cpp.rows(architecture, config, path, len(up))) is not None:
            up = up[order]
        if (order := llama_cpp.columns(config, path, down.shape[1])) is not None:
            down = down[:, order]
        tensor = tensor_name(architecture, path)
        writer.add_tensor(f"{tensor}.lora_a", down.contiguous().numpy())
        writer.add_tensor(f"{tensor}.lora_b", up.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file.chmod(0o600)


def _begun(file: Path, architecture: str, alpha: float, name: str, facts: Mapping[str, str]) -> gguf.GGUFWriter:
    """Begin a file with what llama.cpp asks for before it looks at a tensor, and where the adapter comes from."""
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(TYPE, "lora")
    writer.add_float32(ALPHA, alpha)
    writer.add_name(f"LoRA for {name}")
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, name)
    for key, value in facts.items():
        writer.add_string(key, value)
    return writer


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


def _read(reader: gguf.GGUFReader, backbone: LanguageBackbone) -> tuple[float, dict[str, dict[str, Tensor]]]:
    """Return alpha, and both halves of each module as llama.cpp would find them."""
    alpha = _head(reader, backbone)
    architecture = ARCHITECTURES[backbone.model.config.model_type]
    known = {tensor_name(architecture, path): path for path in backbone.lora.layers}
    halves: dict[str, dict[str, Tensor]] = {}
    for tensor in reader.tensors:
        path, half = known.get(tensor.name[:-7]), HALVES.get(tensor.name[-7:])
        if path is None or half is None:
            raise failure("gguf", f"llama.cpp knows no tensor {tensor.name}")
        halves.setdefault(path, {})[half] = torch.from_numpy(tensor.data.copy())
    if halves.keys() != backbone.lora.layers.keys() or any(len(pair) != 2 for pair in halves.values()):
        raise failure("gguf", f"it holds {len(halves)} modules, and there are {len(backbone.lora.layers)}")
    return alpha, halves


def _head(reader: gguf.GGUFReader, backbone: LanguageBackbone) -> float:
    """Check what llama.cpp asks for before it looks at a tensor; returns alpha."""
    name = ARCHITECTURES[backbone.model.config.model_type].name
    for key, value in {"general.type": "adapter", TYPE: "lora", "general.architecture": name}.items():
        field = reader.get_field(key)
        if field is None or field.contents() != value:
            raise failure("gguf", f"{key} is not {value}")
    field = reader.get_field(ALPHA)
    if field is None or not field.contents() > 0:
        raise failure("gguf", f"{ALPHA} is missing")
    return float(field.contents())


def _change(backbone: LanguageBackbone, path: str, pair: Mapping[str, Tensor], alpha: float) -> Tensor:
    """What llama.cpp adds to the weight of one module, in transformers' order."""
    down, up, config = pair["a"], pair["b"], backbone.model.config
    change = alpha / up.shape[1] * (up @ down)
    if (order := llama_cpp.rows(ARCHITECTURES[config.model_type], config, path, len(up))) is not None:
        change = change[order.argsort()]
    if (order := llama_cpp.columns(config, path, down.shape[1])) is not None:
        change = change[:, order.argsort()]
    return change
