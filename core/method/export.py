"""Write an adapter for its consumers, and load each file back with their own plain calls before it counts.

Readers of formats other than peft's drop or misread alpha, so every other format carries B' = s B and alpha = r, which
is scale 1 for all of them.
"""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import JobFailure
from core.method.backbone import Batch, Draw, count, take
from core.method.diffusion import DiffusionBackbone
from core.method.language import LanguageBackbone
from core.method.lora import Adapter, LoraLayer, LoraModel, peft_config

TOLERANCE = 1e-3  # relative to the effect of the adapter
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
VERIFIED_ON = 2  # examples


def folded(adapter: Adapter) -> Adapter:
    """Return the same branch with scale 1: B' = s B and alpha = r."""
    up = {path: matrix.detach() * adapter.scale for path, matrix in adapter.up.items()}
    return replace(adapter, alpha=float(adapter.rank), up=up)


def write_peft(backbone: DiffusionBackbone | LanguageBackbone, adapter: Adapter, folder: Path, name: str) -> None:
    """Write the folder that `PeftModel.from_pretrained` takes."""
    backbone.lora.save(adapter, folder, name)


def write_diffusers(backbone: DiffusionBackbone, adapter: Adapter, folder: Path, name: str) -> None:
    """Write the file that `pipe.load_lora_weights` takes, under peft's own keys: others lose modules silently."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = folded(adapter)
    config = {f"unet.{key}": value for key, value in peft_config(plain, backbone.lora.target_modules, name).items()}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(config, sort_keys=True)}
    save_file(backbone.lora.tensors(plain, "unet."), folder / DIFFUSERS_FILE, metadata=metadata)
    (folder / DIFFUSERS_FILE).chmod(0o644)


def verify_peft(
    backbone: DiffusionBackbone | LanguageBackbone, adapter: Adapter, folder: Path, batch: Batch, draw: Draw
) -> float:
    """Load the folder with peft into a fresh network; returns the error relative to the adapter's effect.

    Raises JobFailure "export_verification_failed" where tensors are missing, outputs differ, or it does nothing.
    """
    fresh = _fresh(backbone)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys.*")
        loaded = PeftModel.from_pretrained(fresh, folder).eval()
    return _compare(backbone, adapter, loaded, batch, draw, "peft")


def verify_diffusers(backbone: DiffusionBackbone, adapter: Adapter, folder: Path, batch: Batch, draw: Draw) -> float:
    """Load the file with diffusers' own call into a fresh UNet; as `verify_peft` otherwise."""
    fresh = _fresh(backbone)
    assert isinstance(fresh, UNet2DConditionModel)
    state, alphas, metadata = StableDiffusionPipeline.lora_state_dict(
        folder, weight_name=DIFFUSERS_FILE, use_safetensors=True, local_files_only=True, return_lora_metadata=True
    )
    StableDiffusionPipeline.load_lora_into_unet(state, network_alphas=alphas, unet=fresh, metadata=metadata)
    loaded = sum(1 for name, _ in fresh.named_modules() if name.endswith("lora_A"))
    if loaded != len(backbone.lora.layers):
        raise _failure("diffusers", f"only {loaded} of {len(backbone.lora.layers)} modules were loaded")
    return _compare(backbone, adapter, fresh, batch, draw, "diffusers")


@torch.no_grad()
def _compare(
    backbone: DiffusionBackbone | LanguageBackbone,
    adapter: Adapter,
    loaded: nn.Module,
    batch: Batch,
    draw: Draw,
    form: str,
) -> float:
    few = torch.arange(min(VERIFIED_ON, count(batch)))
    batch = take(batch, few)
    draw = Draw(**{name: None if part is None else part[few] for name, part in vars(draw).items()})
    # in float32 on every device: the rounding of bf16 weights alone is larger than what is looked for
    ours = LoraModel(_fresh(backbone), backbone.lora.target_modules)
    with ours.use(None):
        bare = _outputs(backbone, ours.model, batch, draw)
    with ours.use(adapter.to(backbone.device)):
        wanted = _outputs(backbone, ours.model, batch, draw)
    if not adapter.finite():
        raise _failure(form, "it holds numbers that are not finite")
    effect = (wanted - bare).norm().item()
    error = (_outputs(backbone, loaded, batch, draw) - wanted).norm().item()
    if not effect > 0:
        raise _failure(form, "the adapter changes nothing")
    # where an adapter is nearly zero, float32 itself is the limit
    if not error <= max(TOLERANCE * effect, 1e-5 * wanted.norm().item()):
        raise _failure(form, f"its outputs differ by {error / effect:.1%} of the adapter's effect")
    return error / effect


def _outputs(backbone: DiffusionBackbone | LanguageBackbone, network: nn.Module, batch: Batch, draw: Draw) -> Tensor:
    """The network's raw outputs in float32: predicted noise, or logits."""
    if isinstance(backbone, LanguageBackbone):
        ids, mask = batch["input_ids"].to(backbone.device), batch["attention_mask"].to(backbone.device)
        return network(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask.bool()].float()
    assert draw.timestep is not None
    assert draw.noise is not None
    noisy = backbone.noising.add_noise(batch["mean"], draw.noise, draw.timestep).to(backbone.device)
    return network(noisy, draw.timestep.to(backbone.device), batch["text"].to(backbone.device)).sample.float()


def _fresh(backbone: DiffusionBackbone | LanguageBackbone) -> nn.Module:
    """A copy of the frozen network with plain layers, as a stranger's process would load it."""
    network = copy.deepcopy(backbone.unet if isinstance(backbone, DiffusionBackbone) else backbone.model)
    for path in backbone.lora.layers:
        parent, _, name = path.rpartition(".")
        layer = network.get_submodule(path)
        assert isinstance(layer, LoraLayer)
        setattr(network.get_submodule(parent), name, layer.base)
    return network.float().eval()


def _failure(form: str, why: str) -> JobFailure:
    return JobFailure(
        f"The adapter in {form} format did not pass its check: {why}. Nothing was published; please report this job.",
        code="export_verification_failed",
    )
