"""The file for ComfyUI, A1111 and everything else that reads the names of kohya's scripts.

ComfyUI passes over a key that it does not know, so the names are held against a list of our own: each is the path of a
module of the UNet with underscores for dots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.formats import diffusers
from core.method.formats.witness import Witness, failure, folded, loading
from core.method.lora.adapter import Adapter

FILE = "adapter-kohya.safetensors"
TENSORS_OF_MODULE = ("lora_down.weight", "lora_up.weight", "alpha")
_BLOCK = r"(?:(?:down|up)_blocks_\d+|mid_block)"
_INSIDE = r"transformer_blocks_\d+_(?:attn[12]_to_(?:q|k|v|out_0)|ff_net_(?:0_proj|2))"
MODULE = re.compile(
    rf"lora_unet_(?:{_BLOCK}_attentions_\d+_(?:{_INSIDE}|proj_in|proj_out)"
    rf"|{_BLOCK}_resnets_\d+_(?:conv1|conv2|conv_shortcut|time_emb_proj)"
    r"|down_blocks_\d+_downsamplers_0_conv|up_blocks_\d+_upsamplers_0_conv"
    r"|conv_in|conv_out|time_embedding_linear_[12])"
)
SD_1_WIDTH, SD_2_WIDTH = 768, 1024  # of the text encoder


def refusal(backbone: DiffusionBackbone) -> str | None:
    """Say why there is no such file for a backbone; None where there is one."""
    unknown = [path for path in backbone.lora.layers if not MODULE.fullmatch(module_name(path))]
    return f"ComfyUI has no name for the module {unknown[0]}." if unknown else None


def module_name(path: str) -> str:
    """Name a module of the UNet."""
    return f"lora_unet_{path.replace('.', '_')}"


def write(backbone: DiffusionBackbone, adapter: Adapter, file: Path, name: str, header: Mapping[str, str]) -> None:
    """Write down, up and alpha of each module, with alpha = r; `name` is the backbone's."""
    plain = folded(adapter)
    tensors: dict[str, Tensor] = {}
    for key, tensor in backbone.lora.tensors(plain, "").items():
        path, matrix, _ = key.rsplit(".", 2)
        tensors[f"{module_name(path)}.{'lora_down' if matrix == 'lora_A' else 'lora_up'}.weight"] = tensor
        tensors[f"{module_name(path)}.alpha"] = torch.tensor(plain.alpha)
    save_file(tensors, file, metadata=_metadata(backbone, plain, name) | dict(header))
    file.chmod(0o644)


def verify(witness: Witness, file: Path) -> float:
    """Check every name, then load the file with diffusers; returns the error relative to the adapter's effect.

    Raises JobFailure "export_verification_failed" where a key is not one that ComfyUI knows, or outputs differ.
    """
    with loading("kohya", "safetensors"):
        found = problems(file, witness.adapter.rank)
    if found:
        raise failure("kohya", found[0])
    return witness.compare(diffusers.load(witness, file, "kohya"), "kohya")


def problems(file: Path, rank: int) -> list[str]:
    """Say what a consumer would pass over or misread."""
    with safe_open(file, "pt") as opened:
        keys = set(opened.keys())
        modules = {key.partition(".")[0] for key in keys}
        alphas = {opened.get_tensor(key).item() for key in keys if key.endswith(".alpha")}
    found = [f"the name {module} is not one that ComfyUI knows" for module in modules if not MODULE.fullmatch(module)]
    wanted = {f"{module}.{part}" for module in modules for part in TENSORS_OF_MODULE}
    found += [f"{key} is missing" for key in wanted - keys]
    found += [f"{key} has no meaning" for key in keys - wanted]
    if alphas != {float(rank)}:
        found.append(f"alpha is not {rank} everywhere")
    return sorted(found)


def _metadata(backbone: DiffusionBackbone, plain: Adapter, name: str) -> dict[str, str]:
    facts = {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(plain.rank),
        "ss_network_alpha": f"{plain.alpha:g}",
        "ss_sd_model_name": name,  # kohya's key for the base: its file, or its name on the hub
    }
    return facts | _base(backbone)


def _base(backbone: DiffusionBackbone) -> dict[str, str]:
    """Say which Stable Diffusion it is for: A1111 shows a file only beside the one that it takes it to be for."""
    width = backbone.network.config.cross_attention_dim
    if width not in (SD_1_WIDTH, SD_2_WIDTH):
        return {}
    velocity = backbone.objective.velocity
    version = ("sd_v2" if width == SD_2_WIDTH else "sd_v1") + ("_v" if velocity else "")
    return {"ss_base_model_version": version, "ss_v2": str(width == SD_2_WIDTH), "ss_v_parameterization": str(velocity)}
