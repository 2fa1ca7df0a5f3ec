"""The names that kohya's scripts give the modules of a network, which ComfyUI, A1111, diffusers and others read.

For Stable Diffusion 1 and 2 a name is diffusers' path with underscores for dots. For SDXL it is the path in the layout
that SDXL was published in: kohya's own SDXL scripts know no other, and all that read the first kind read this one too.
For FLUX.1 see kohya_flux; for Qwen-Image, which is published as diffusers has it, it is the path again.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.formats import kohya_flux

Layout = Literal["sd", "sdxl", "flux", "qwen-image"]
TRANSFORMERS: dict[str, Layout] = {"FluxTransformer2DModel": "flux", "QwenImageTransformer2DModel": "qwen-image"}
PREFIX = "lora_unet_"
_INSIDE = r"(?:transformer_blocks_\d+_(?:attn[12]_to_(?:q|k|v|out_0)|ff_net_(?:0_proj|2))|proj_in|proj_out)"
_BLOCK = r"(?:(?:down|up)_blocks_\d+|mid_block)"
_SD = (
    rf"{_BLOCK}_attentions_\d+_{_INSIDE}"
    rf"|{_BLOCK}_resnets_\d+_(?:conv1|conv2|conv_shortcut|time_emb_proj)"
    r"|down_blocks_\d+_downsamplers_0_conv|up_blocks_\d+_upsamplers_0_conv"
    r"|conv_in|conv_out|time_embedding_linear_[12]"
)
_RESNET = r"(?:in_layers_2|out_layers_3|skip_connection|emb_layers_1)"
_SDXL = (
    rf"(?:input|output)_blocks_\d+_1_{_INSIDE}|middle_block_1_{_INSIDE}"
    rf"|(?:input|output)_blocks_\d+_0_{_RESNET}|middle_block_[02]_{_RESNET}"
    r"|input_blocks_\d+_0_op|output_blocks_\d+_2_conv"
    r"|input_blocks_0_0|out_2|time_embed_[02]"
)
_QWEN_IMAGE = (
    r"transformer_blocks_\d+_(?:attn_(?:to_(?:q|k|v|out_0|add_out)|add_(?:q|k|v)_proj)"
    r"|(?:img|txt)_(?:mlp_net_(?:0_proj|2)|mod_1))|img_in|txt_in"
)
# Every name that is written; what is not among them would be passed over, by ComfyUI without a word.
KNOWN: dict[Layout, re.Pattern[str]] = {
    "sd": re.compile(f"{PREFIX}(?:{_SD})"),
    "sdxl": re.compile(f"{PREFIX}(?:{_SDXL})"),
    "flux": re.compile(f"{PREFIX}(?:{kohya_flux.KNOWN})"),
    "qwen-image": re.compile(f"{PREFIX}(?:{_QWEN_IMAGE})"),
}
NO_NAMES = "No names of kohya's are written for {}; ComfyUI, which would read them, reads the diffusers file of it."
RESNET_PARTS = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
    "time_emb_proj": "emb_layers.1",
}
OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
}


def layout_of(backbone: DiffusionBackbone) -> Layout | None:
    """Return in which layout the modules of a backbone's network are named; None where there is none."""
    if backbone.form in ("sd", "sdxl"):
        return "sdxl" if backbone.form == "sdxl" else "sd"
    return TRANSFORMERS.get(type(backbone.network).__name__)


def refusal_of(layout: Layout | None, network: Any) -> str | None:
    """Say why no module of a network has a name; None where they may have."""
    config = network.config
    if layout is None:
        return NO_NAMES.format(type(network).__name__)
    if layout == "sdxl" and not isinstance(config.layers_per_block, int):
        return "Its blocks have different numbers of layers, for which no names of modules are known here."
    return kohya_flux.refusal(config) if layout == "flux" else None


def place_of(path: str, layout: Layout, config: Any) -> tuple[str, tuple[str, ...]]:
    """Return the name that a module has or is a part of, and the paths of all its parts in their order."""
    if layout == "flux":
        name, parts = kohya_flux.published(path)
        return f"{PREFIX}{name}", parts
    return name_of(path, layout, getattr(config, "layers_per_block", 0)), (path,)


def name_of(path: str, layout: Layout, layers: int) -> str:
    """Name a module of a network; a UNet has so many layers (resnets) in each block on its way down."""
    published = _published(path, layers) if layout == "sdxl" else path
    return f"{PREFIX}{published.replace('.', '_')}"


def _published(path: str, layers: int) -> str:
    """Return a module's path in SDXL's published layout; one that has none there stays as it is, and is not known."""
    if path in OUTSIDE_BLOCKS:
        return OUTSIDE_BLOCKS[path]
    side, _, rest = path.partition(".")
    if side == "mid_block":
        kind, number, inside = rest.split(".", 2)
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}.{_inside(kind, inside)}"
    if side not in ("down_blocks", "up_blocks") or rest.count(".") < 3:
        return path
    block, kind, number, inside = rest.split(".", 3)
    first = int(block) * (layers + 1)
    if side == "down_blocks":
        place = 1 + first + (layers if kind == "downsamplers" else int(number))
        return f"input_blocks.{place}.{1 if kind == 'attentions' else 0}.{_inside(kind, inside)}"
    place = first + (layers if kind == "upsamplers" else int(number))
    return f"output_blocks.{place}.{('resnets', 'attentions', 'upsamplers').index(kind)}.{_inside(kind, inside)}"


def _inside(kind: str, inside: str) -> str:
    if kind == "resnets":
        return RESNET_PARTS.get(inside, inside)
    return "op" if kind == "downsamplers" else inside
