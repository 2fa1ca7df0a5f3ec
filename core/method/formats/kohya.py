"""The file for ComfyUI, A1111 and everything else that reads the names of kohya's scripts.

ComfyUI passes over a key that it does not know, so the names are held against a list of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.forms import FormName
from core.method.backbones.images.objective import Ddpm
from core.method.formats import diffusers
from core.method.formats.kohya_names import KNOWN, name_of
from core.method.formats.witness import Witness, failure, folded, loading
from core.method.lora.adapter import Adapter

FILE = "adapter-kohya.safetensors"
TENSORS_OF_MODULE = ("lora_down.weight", "lora_up.weight", "alpha")
SD_1_WIDTH, SD_2_WIDTH = 768, 1024  # of the text encoder
SPECIFICATION = "1.0.1"  # of Stability AI's metadata, https://github.com/Stability-AI/ModelSpec
SDXL_CODE = "https://github.com/Stability-AI/generative-models"


def refusal(backbone: DiffusionBackbone) -> str | None:
    """Say why there is no such file for a backbone; None where there is one."""
    if backbone.form == "sdxl" and not isinstance(backbone.network.config.layers_per_block, int):
        return "Its blocks have different numbers of layers, for which no names of modules are known here."
    unknown = [path for path in backbone.lora.layers if not _known(backbone.form, module_name(backbone, path))]
    if not unknown:
        return None
    return f"No name that ComfyUI, A1111 and diffusers all read is known here for the module {unknown[0]}."


def _known(form: FormName, module: str) -> bool:
    return KNOWN[form].fullmatch(module) is not None


def module_name(backbone: DiffusionBackbone, path: str) -> str:
    """Name a module of a backbone's network."""
    return name_of(path, backbone.form, backbone.network.config.layers_per_block)


def write(backbone: DiffusionBackbone, adapter: Adapter, file: Path, name: str, header: Mapping[str, str]) -> None:
    """Write down, up and alpha of each module, with alpha = r; `name` is the backbone's."""
    plain = folded(adapter)
    tensors: dict[str, Tensor] = {}
    for key, tensor in backbone.lora.tensors(plain, "").items():
        path, matrix, _ = key.rsplit(".", 2)
        module = module_name(backbone, path)
        tensors[f"{module}.{'lora_down' if matrix == 'lora_A' else 'lora_up'}.weight"] = tensor
        tensors[f"{module}.alpha"] = torch.tensor(plain.alpha)
    save_file(tensors, file, metadata=_metadata(backbone, plain, name) | dict(header))
    file.chmod(0o600)


def verify(witness: Witness, file: Path) -> float:
    """Check every name, then load the file with diffusers; returns the error relative to the adapter's effect.

    Raises JobFailure "export_verification_failed" where a key is not one that ComfyUI knows, or outputs differ.
    """
    with loading("kohya", "safetensors"):
        backbone = witness.backbone
        assert isinstance(backbone, DiffusionBackbone)
        found = problems(file, witness.adapter.rank, backbone.form)
    if found:
        raise failure("kohya", found[0])
    return witness.compare(diffusers.load(witness, file, "kohya"), "kohya")


def problems(file: Path, rank: int, form: FormName) -> list[str]:
    """Say what a consumer would pass over or misread."""
    with safe_open(file, "pt") as opened:
        keys = set(opened.keys())
        modules = {key.partition(".")[0] for key in keys}
        alphas = {opened.get_tensor(key).item() for key in keys if key.endswith(".alpha")}
    found = [
        f"the name {module} is not one that ComfyUI knows" for module in modules if not KNOWN[form].fullmatch(module)
    ]
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
    return facts | _base(backbone, name)


def _base(backbone: DiffusionBackbone, name: str) -> dict[str, str]:
    """Say which Stable Diffusion it is for: programs show a file only beside the one that they take it to be for."""
    width, aim = backbone.network.config.cross_attention_dim, backbone.objective
    velocity = isinstance(aim, Ddpm) and aim.velocity
    second = backbone.form == "sd" and width == SD_2_WIDTH
    if backbone.form == "sdxl":
        version, architecture = "sdxl_base_v1-0", "stable-diffusion-xl-v1-base"
    elif second:
        version, architecture = "sd_v2", f"stable-diffusion-v2-{'768-v' if velocity else '512'}"
    elif width == SD_1_WIDTH:
        version, architecture = "sd_v1", "stable-diffusion-v1"
    else:
        return {}
    return {
        "ss_base_model_version": version + ("_v" if velocity and backbone.form == "sd" else ""),
        "ss_v2": str(second),
        "ss_v_parameterization": str(velocity),
        "modelspec.sai_model_spec": SPECIFICATION,
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": SDXL_CODE if backbone.form == "sdxl" else "diffusers",
        "modelspec.title": f"LoRA of {name}",
        "modelspec.resolution": f"{backbone.resolution}x{backbone.resolution}",
        "modelspec.prediction_type": "v" if velocity else "epsilon",
    }
