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
from core.method.backbones.images.objective import Ddpm
from core.method.formats import diffusers
from core.method.formats.kohya_flux import JOINED, joined
from core.method.formats.kohya_names import KNOWN, Layout, layout_of, place_of, refusal_of
from core.method.formats.witness import Witness, failure, folded, loading
from core.method.lora.adapter import Adapter

FILE = "adapter-kohya.safetensors"
TENSORS_OF_MODULE = ("lora_down.weight", "lora_up.weight", "alpha")
SD_1_WIDTH, SD_2_WIDTH = 768, 1024  # of the text encoder
SPECIFICATION = "1.0.1"  # of Stability AI's metadata, https://github.com/Stability-AI/ModelSpec
SDXL_CODE = "https://github.com/Stability-AI/generative-models"
JOINED_PARTS: dict[Layout, tuple[int, ...]] = {"flux": JOINED}  # how many modules may be one in a layout
FLUX_CODE = "https://github.com/black-forest-labs/flux"


def refusal(backbone: DiffusionBackbone) -> str | None:
    """Say why there is no such file for a backbone; None where there is one."""
    layout = layout_of(backbone)
    why = refusal_of(layout, backbone.network)
    if layout is None or why is not None:
        return why
    unknown = [path for path in backbone.lora.layers if not KNOWN[layout].fullmatch(_place(backbone, path)[0])]
    if not unknown:
        return None
    return f"No name that ComfyUI, A1111 and diffusers all read is known here for the module {unknown[0]}."


def write(backbone: DiffusionBackbone, adapter: Adapter, file: Path, name: str, header: Mapping[str, str]) -> None:
    """Write down, up and alpha of each module, with alpha its rank; `name` is the backbone's.

    Modules that are one in the layout of these names are joined; what is not adapted among them is a block of zeros.
    """
    plain = folded(adapter)
    own, tensors = backbone.lora.tensors(plain, ""), dict[str, Tensor]()
    for module, parts in dict.fromkeys(_place(backbone, path) for path in backbone.lora.layers):
        halves = [_halves(backbone, own, plain.rank, path) for path in parts]
        down, up = halves[0] if len(halves) == 1 else joined(halves)
        tensors |= {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up}
        tensors[f"{module}.alpha"] = torch.tensor(float(len(down)))
    save_file(tensors, file, metadata=_metadata(backbone, plain, name) | dict(header))
    file.chmod(0o600)


def _place(backbone: DiffusionBackbone, path: str) -> tuple[str, tuple[str, ...]]:
    layout = layout_of(backbone)
    assert layout is not None
    return place_of(path, layout, backbone.network.config)


def _halves(backbone: DiffusionBackbone, own: Mapping[str, Tensor], rank: int, path: str) -> tuple[Tensor, Tensor]:
    """Return A and B of a module; zeros of one that is not adapted."""
    if path in backbone.lora.layers:
        return own[f"{path}.lora_A.weight"], own[f"{path}.lora_B.weight"]
    linear = backbone.network.get_submodule(path)
    return torch.zeros(rank, linear.in_features), torch.zeros(linear.out_features, rank)


def verify(witness: Witness, file: Path) -> float:
    """Check every name, then load the file with diffusers; returns the error relative to the adapter's effect.

    Raises JobFailure "export_verification_failed" where a key is not one that ComfyUI knows, or outputs differ.
    """
    with loading("kohya", "safetensors"):
        backbone = witness.backbone
        assert isinstance(backbone, DiffusionBackbone)
        layout = layout_of(backbone)
        assert layout is not None
        found = problems(file, witness.adapter.rank, layout)
    if found:
        raise failure("kohya", found[0])
    return witness.compare(diffusers.load(witness, file, "kohya"), "kohya")


def problems(file: Path, rank: int, layout: Layout) -> list[str]:
    """Say what a consumer would pass over or misread; a joined module has the rank of all its parts together."""
    with safe_open(file, "pt") as opened:
        keys = set(opened.keys())
        modules = {key.partition(".")[0] for key in keys}
        alphas = {key.removesuffix(".alpha"): opened.get_tensor(key).item() for key in keys if key.endswith(".alpha")}
        downs = [key for key in keys if key.endswith(".lora_down.weight")]
        ranks = {key.partition(".")[0]: opened.get_slice(key).get_shape()[0] for key in downs}
    found = [f"the name {each} is not one that ComfyUI knows" for each in modules if not KNOWN[layout].fullmatch(each)]
    wanted = {f"{module}.{part}" for module in modules for part in TENSORS_OF_MODULE}
    found += [f"{key} is missing" for key in wanted - keys]
    found += [f"{key} has no meaning" for key in keys - wanted]
    allowed = {rank * parts for parts in JOINED_PARTS.get(layout, (1,))}
    if alphas != ranks or not set(ranks.values()) <= allowed:
        found.append(f"alpha is not {' or '.join(map(str, sorted(allowed)))} everywhere")
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
    """Say which model it is for: programs show a file only beside the one that they take it to be for."""
    about = {
        "modelspec.sai_model_spec": SPECIFICATION,
        "modelspec.title": f"LoRA of {name}",
        "modelspec.resolution": f"{backbone.resolution}x{backbone.resolution}",
    }
    layout = layout_of(backbone)
    if layout == "flux":
        architecture = {"modelspec.architecture": "flux-1-dev/lora", "modelspec.implementation": FLUX_CODE}
        return {"ss_base_model_version": "flux1", **architecture, **about}
    own = _stable_diffusion(backbone)
    return own | about if own else {}


def _stable_diffusion(backbone: DiffusionBackbone) -> dict[str, str]:
    if layout_of(backbone) not in ("sd", "sdxl"):
        return {}
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
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": SDXL_CODE if backbone.form == "sdxl" else "diffusers",
        "modelspec.prediction_type": "v" if velocity else "epsilon",
    }
