"""What transformers of flows need at their real sizes, on the meta device: nothing is computed.

`python -m benchmarks.gpu.flows [NAME ...]` prints a line of JSON for each: what a step in bf16 and in float32 keeps of
a picture, numbers and modules of an adapter, and the operations of a pass forward.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    ZImageTransformer2DModel,
)
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import sizes
from benchmarks.gpu.measuring import Facts
from core.backbones.families import FAMILIES
from core.method.backbones.images.forms import FORMS
from core.method.lora.model import LoraModel

LATENT = 16, 8  # channels of a latent, and pixels of its side
STABLE_DIFFUSION = {"joint_attention_dim": 4096, "pooled_projection_dim": 2048, "qk_norm": "rms_norm"}
STABLE_DIFFUSION_TOLD = {"text": (333, 4096), "pooled": (2048,)}
PATCHED = 128, 16  # of FLUX.2


@dataclass(frozen=True)
class Size:
    """A network at its real size, the sides of what it is told, and its latents."""

    family: str
    made: type[Any]
    config: Mapping[str, Any]
    told: Mapping[str, tuple[int, ...]]
    latent: tuple[int, int] = LATENT


SIZES: Mapping[str, Size] = {
    "sd3.5-large": Size(
        "sd3",
        SD3Transformer2DModel,
        {
            **STABLE_DIFFUSION,
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
        },
        STABLE_DIFFUSION_TOLD,
    ),
    "sd3.5-medium": Size(
        "sd3",
        SD3Transformer2DModel,
        {
            **STABLE_DIFFUSION,
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 384,
            "dual_attention_layers": tuple(range(13)),
        },
        STABLE_DIFFUSION_TOLD,
    ),
    "flux2-dev": Size("flux2", Flux2Transformer2DModel, {}, {"text": (512, 15_360)}, PATCHED),
    "flux2-klein-4b": Size(
        "flux2-klein",
        Flux2Transformer2DModel,
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
        {"text": (512, 7680)},
        PATCHED,
    ),
    "flux2-klein-9b": Size(
        "flux2-klein",
        Flux2Transformer2DModel,
        {
            "num_layers": 8,
            "num_single_layers": 24,
            "num_attention_heads": 32,
            "joint_attention_dim": 12_288,
            "guidance_embeds": False,
        },
        {"text": (512, 12_288)},
        PATCHED,
    ),
    "qwen-image": Size("qwen-image", QwenImageTransformer2DModel, {}, {"text": (128, 3584)}),
    "z-image": Size("z-image", ZImageTransformer2DModel, {}, {"text": (128, 2560)}),
    "flux1": Size("flux1", FluxTransformer2DModel, {"guidance_embeds": True}, {"text": (512, 4096), "pooled": (768,)}),
}


def measured(size: Size, side: int, dtype: torch.dtype) -> Facts:
    """Say what a step on one picture keeps, with adapters of rank 16 on what the family adapts."""
    family = FAMILIES[size.family]
    assert family.form is not None
    with torch.device("meta"):
        network = size.made(**size.config).to(dtype)
        channels, pixels = size.latent
        clean, place = torch.zeros(1, channels, side // pixels, side // pixels), torch.zeros(1)
        told = {name: torch.zeros(1, *sides) for name, sides in size.told.items()}
    told["words"] = torch.tensor([float(size.told["text"][0])])
    lora = LoraModel(network, family.targets)
    adapter = sizes._adapter(lora, 1, True)
    saved = sizes.Saved(iter((*network.parameters(), *network.buffers(), *adapter.parameters())))
    hooks = torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor)
    operations = FlopCounterMode(display=False)
    with torch.device("meta"), torch.enable_grad(), lora.use(adapter), hooks, operations:
        predicted = FORMS[family.form].call(network, clean.to(dtype), place, told)
        (predicted.float() - clean).square().mean()
    return saved.facts() | {
        "flop": operations.get_total_flops(),
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "D": sum(parameter.numel() for parameter in adapter.parameters()),
        "modules": len(lora.layers),
    }


def main() -> None:
    functional.scaled_dot_product_attention = sizes.flash  # type: ignore[assignment]
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SIZES:
        for side, dtype in ((1024, torch.bfloat16), (1024, torch.float32), (512, torch.bfloat16)):
            what = {"what": name, "side": side, "floats": str(dtype).removeprefix("torch.")}
            print(json.dumps(what | measured(SIZES[name], side, dtype)), flush=True)


if __name__ == "__main__":
    main()
