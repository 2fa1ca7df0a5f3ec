"""The folder that `PeftModel.from_pretrained` takes, and vLLM with it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from peft import PeftModel

from core.method.formats.witness import AnyBackbone, Witness, failure
from core.method.lora import Adapter


def write(backbone: AnyBackbone, adapter: Adapter, folder: Path, name: str, header: Mapping[str, str]) -> None:
    """Write adapter_config.json and adapter_model.safetensors; `name` is the backbone's."""
    backbone.lora.save(adapter, folder, name, header)


def verify(witness: Witness, folder: Path) -> float:
    """Load the folder with peft into a fresh network; returns the error relative to the adapter's effect.

    Raises JobFailure "export_verification_failed" where tensors are missing or outputs differ.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys.*")
        try:
            loaded = PeftModel.from_pretrained(witness.fresh(), folder).eval()
        except Exception as error:
            raise failure("peft", f"peft does not load it ({type(error).__name__})") from error
    return witness.compare(loaded, "peft")
