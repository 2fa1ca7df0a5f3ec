"""The file that `pipe.load_lora_weights` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.formats.witness import Witness, failure, folded, loading
from core.method.lora.adapter import Adapter
from core.method.lora.model import peft_config

PIPELINES = {"sd": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
FILE = "pytorch_lora_weights.safetensors"  # the name that diffusers looks for


def write(backbone: DiffusionBackbone, adapter: Adapter, file: Path, name: str, header: Mapping[str, str]) -> None:
    """Write it under peft's own keys, since others lose modules silently; `name` is the backbone's."""
    plain = folded(adapter)
    config = {f"unet.{key}": value for key, value in peft_config(plain, backbone.lora.peft_targets(), name).items()}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(config, sort_keys=True), **header}
    save_file(backbone.lora.tensors(plain, "unet."), file, metadata=metadata)
    file.chmod(0o600)


def verify(witness: Witness, file: Path) -> float:
    """Load the file with diffusers' own calls into a fresh UNet; returns the error relative to the adapter's effect.

    Raises JobFailure "export_verification_failed" where modules are missing or outputs differ.
    """
    return witness.compare(load(witness, file, "diffusers"), "diffusers")


def load(witness: Witness, file: Path, form: str) -> UNet2DConditionModel:
    """Load a file in any format that diffusers reads into a fresh UNet, all of its modules or none."""
    fresh = witness.fresh()
    assert isinstance(fresh, UNet2DConditionModel)
    assert isinstance(witness.backbone, DiffusionBackbone)
    pipeline, own = PIPELINES[witness.backbone.form], {}
    if pipeline is StableDiffusionXLPipeline:
        own = {"unet_config": fresh.config}  # as its load_lora_weights does; without, names of kohya's are not read
    with loading(form, "diffusers"):
        options = {"use_safetensors": True, "local_files_only": True, "return_lora_metadata": True, **own}
        state, alphas, metadata = pipeline.lora_state_dict(file.parent, weight_name=file.name, **options)
        pipeline.load_lora_into_unet(state, network_alphas=alphas, unet=fresh, metadata=metadata)
    loaded = sum(1 for name, _ in fresh.named_modules() if name.endswith("lora_A"))
    if loaded != witness.modules:
        raise failure(form, f"only {loaded} of {witness.modules} modules were loaded")
    return fresh
