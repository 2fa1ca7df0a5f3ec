"""The folder that `PeftModel.from_pretrained` takes, and vLLM with it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from peft import PeftModel

from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats.witness import AnyBackbone, Witness, loading
from core.method.lora.adapter import Adapter

TEXT_TASK = "CAUSAL_LM"  # by which AutoPeftModelForCausalLM knows that the adapter is for it


def write(backbone: AnyBackbone, adapter: Adapter, folder: Path, name: str, header: Mapping[str, str]) -> None:
    """Write adapter_config.json and adapter_model.safetensors; `name` is the backbone's."""
    backbone.lora.save(adapter, folder, name, header, task=task_type(backbone))


def task_type(backbone: AnyBackbone) -> str | None:
    """Return peft's `task_type` of adapters of a backbone; peft has none for a UNet."""
    return TEXT_TASK if isinstance(backbone, LanguageBackbone) else None


def verify(witness: Witness, folder: Path) -> float:
    """Load the folder with peft into a fresh network; returns the error relative to the adapter's effect.

    Raises JobFailure "export_verification_failed" where tensors are missing or outputs differ.
    """
    fresh = witness.fresh()
    with warnings.catch_warnings(), loading("peft", "peft"):
        warnings.filterwarnings("error", message=".*missing adapter keys.*")
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")  # an old name by which peft asks
        # unless it is told, it reads files into a GPU's memory wherever there is one; from here they go to the network
        loaded = PeftModel.from_pretrained(fresh, folder, torch_device="cpu").eval()
    return witness.compare(loaded, "peft")
