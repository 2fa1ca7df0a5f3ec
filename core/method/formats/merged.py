"""The whole network with the adapter in its weights: a folder that transformers or diffusers loads by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats.witness import Witness, loading, merge
from core.method.lora.adapter import Adapter

FILE = "merged.zip"
PRIVATE = ("_name_or_path",)  # where the backbone lies on this machine


def write(witness: Witness, folder: Path) -> None:
    """Write the folder in float32; it is as large as the backbone in float32, and so is the memory that it takes."""
    network = witness.fresh()
    merge(network, _changes(witness.adapter))
    assert isinstance(network, PreTrainedModel | UNet2DConditionModel)
    network.save_pretrained(folder)
    if isinstance(witness.backbone, LanguageBackbone):
        witness.backbone.tokenizer.save_pretrained(folder)
    _forget_paths(folder / "config.json")
    for file in folder.rglob("*"):  # a tokenizer may keep templates in a folder of their own
        if file.is_file():
            file.chmod(0o644)


def _changes(adapter: Adapter) -> Iterator[tuple[str, Tensor]]:
    for path, down in adapter.down.items():
        yield path, adapter.scale * (adapter.up[path][0].detach() @ down[0].detach())


def verify(witness: Witness, folder: Path) -> float:
    """Load the folder as a stranger would; returns the error relative to the adapter's effect.

    Raises JobFailure "export_verification_failed" where it does not load or outputs differ.
    """
    text = isinstance(witness.backbone, LanguageBackbone)
    with loading("merged", "transformers" if text else "diffusers"):
        if text:
            loaded = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        else:
            loaded = UNet2DConditionModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return witness.compare(loaded.to(witness.device).eval(), "merged")


def _forget_paths(file: Path) -> None:
    config = json.loads(file.read_text())
    kept = {name: value for name, value in config.items() if name not in PRIVATE}
    file.write_text(json.dumps(kept, indent=2) + "\n")
