"""The file that `pipe.load_lora_weights` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from diffusers import ModelMixin, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.forms import FORMS
from core.method.formats.witness import Witness, failure, folded, loading
from core.method.lora.adapter import Adapter
from core.method.lora.model import peft_config

PIPELINES = {"sd": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
OPTIONS = {"use_safetensors": True, "local_files_only": True, "return_lora_metadata": True}
FILE = "pytorch_lora_weights.safetensors"  # the name that diffusers looks for


def write(backbone: DiffusionBackbone, adapter: Adapter, file: Path, name: str, header: Mapping[str, str]) -> None:
    """Write it under peft's own keys, since others lose modules silently; `name` is the backbone's."""
    plain, part = folded(adapter), FORMS[backbone.form].part
    config = {f"{part}.{key}": value for key, value in peft_config(plain, backbone.lora.peft_targets(), name).items()}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(config, sort_keys=True), **header}
    save_file(backbone.lora.tensors(plain, f"{part}."), file, metadata=metadata)
    file.chmod(0o600)


def verify(witness: Witness, file: Path) -> float:
    """Load the file with diffusers' own calls into a fresh network; returns the error relative to the effect.

    Raises JobFailure "export_verification_failed" where modules are missing or outputs differ.
    """
    return witness.compare(load(witness, file, "diffusers"), "diffusers")


def load(witness: Witness, file: Path, form: str) -> ModelMixin:
    """Load a file in any format that diffusers reads into a fresh network, all of its modules or none."""
    fresh = witness.fresh()
    assert isinstance(fresh, ModelMixin)
    assert isinstance(witness.backbone, DiffusionBackbone)
    with loading(form, "diffusers"):
        if isinstance(fresh, UNet2DConditionModel):
            _load_into_unet(witness.backbone, fresh, file)
        else:
            _load_into_transformer(witness.backbone, fresh, file)
    loaded = sum(1 for name, _ in fresh.named_modules() if name.endswith("lora_A"))
    if loaded < witness.modules:
        raise failure(form, f"only {loaded} of {witness.modules} modules were loaded")
    return fresh


def _load_into_unet(backbone: DiffusionBackbone, fresh: UNet2DConditionModel, file: Path) -> None:
    pipeline, own = PIPELINES[backbone.form], {}
    if pipeline is StableDiffusionXLPipeline:
        own = {"unet_config": fresh.config}  # as its load_lora_weights does; without, names of kohya's are not read
    state, alphas, metadata = pipeline.lora_state_dict(file.parent, weight_name=file.name, **OPTIONS, **own)
    pipeline.load_lora_into_unet(state, network_alphas=alphas, unet=fresh, metadata=metadata)


def _load_into_transformer(backbone: DiffusionBackbone, fresh: ModelMixin, file: Path) -> None:
    pipeline = type(backbone.pipeline)
    state, metadata = pipeline.lora_state_dict(file.parent, weight_name=file.name, **OPTIONS)
    fresh.load_lora_adapter(state, network_alphas=None, metadata=metadata)  # as load_lora_into_transformer does
