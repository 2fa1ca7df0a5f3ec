"""Checkpoints in one file, as CivitAI hands them out, written from diffusers' pipelines: the way back.

The names are those of CompVis' latent-diffusion and of OpenCLIP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

UNET, VAE = "model.diffusion_model.", "first_stage_model."
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
AROUND = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def write_checkpoint(
    pipeline: Any, file: Path, extra: Mapping[str, Tensor] | None = None, metadata: dict[str, str] | None = None
) -> Path:
    """Write one .safetensors file of a pipeline; which names its encoders have follows from how it acts."""
    from safetensors.torch import save_file

    tensors = dict(unet(pipeline.unet)) | dict(vae(pipeline.vae)) | encoders(pipeline) | dict(extra or {})
    save_file({name: each.contiguous() for name, each in tensors.items()}, file, metadata=metadata)
    return file


def encoders(pipeline: Any) -> dict[str, Tensor]:
    first = pipeline.text_encoder
    if hasattr(pipeline, "text_encoder_2"):
        second = dict(open_clip(pipeline.text_encoder_2, "conditioner.embedders.1.model."))
        return dict(clip(first, "conditioner.embedders.0.transformer.")) | second
    if first.config.hidden_act == "gelu":
        return dict(open_clip(first, "cond_stage_model.model."))
    return dict(clip(first, "cond_stage_model.transformer."))


def unet(network: Any) -> Iterator[tuple[str, Tensor]]:
    names = network.state_dict()
    for name, tensor in names.items():
        block = ".".join(name.split(".")[:2])
        after = 2 if any(each.startswith(f"{block}.attentions.") for each in names) else 1
        yield UNET + _unet_name(name, network.config.layers_per_block, after), tensor


def _unet_name(name: str, layers: int, after: int) -> str:
    """Return the old name; what makes a picture larger stands `after` the parts of the last layer of its block."""
    for new, old in AROUND.items():
        if name.startswith(f"{new}."):
            return name.replace(new, old)
    found = re.fullmatch(r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(\w+)\.(\d+)\.(.+)", name)
    assert found is not None, name
    side, block, kind, number, rest = found[1], int(found[2] or 0), found[3], int(found[4]), found[5]
    if kind == "resnets":
        part, _, last = rest.rpartition(".")
        rest = f"{RESNET[part]}.{last}"
    within = {"resnets": 0, "attentions": 1}.get(kind, 0)
    if side is None:
        return f"middle_block.{1 if kind == 'attentions' else 2 * number}.{rest}"
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(layers + 1) * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
        return f"input_blocks.{(layers + 1) * block + number + 1}.{within}.{rest}"
    if kind == "upsamplers":
        return f"output_blocks.{(layers + 1) * block + layers}.{after}.{rest}"
    return f"output_blocks.{(layers + 1) * block + number}.{within}.{rest}"


def vae(network: Any) -> Iterator[tuple[str, Tensor]]:
    blocks = len(network.config.block_out_channels)
    for name, tensor in network.state_dict().items():
        new = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        new = re.sub(r"encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.down.\1.block.", new)
        new = re.sub(r"encoder\.down_blocks\.(\d+)\.downsamplers\.0", r"encoder.down.\1.downsample", new)
        for up in range(blocks):
            new = new.replace(f"decoder.up_blocks.{up}.resnets.", f"decoder.up.{blocks - 1 - up}.block.")
            new = new.replace(f"decoder.up_blocks.{up}.upsamplers.0", f"decoder.up.{blocks - 1 - up}.upsample")
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", new)
        for part, old in ATTENTION.items():
            new = new.replace(f"mid_block.attentions.0.{part}.", f"mid.attn_1.{old}.")
        if "attn_1" in new and tensor.dim() == 2:
            tensor = tensor[:, :, None, None]
        yield VAE + new, tensor


def clip(network: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in network.state_dict().items():
        yield f"{prefix}text_model.{name.removeprefix('text_model.')}", tensor


def open_clip(network: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    import torch

    own = {name.removeprefix("text_model."): each for name, each in network.state_dict().items()}
    yield f"{prefix}token_embedding.weight", own.pop("embeddings.token_embedding.weight")
    yield f"{prefix}positional_embedding", own.pop("embeddings.position_embedding.weight")
    width = network.config.hidden_size
    yield f"{prefix}text_projection", own.pop("text_projection.weight", torch.eye(width)).T
    for end in ("weight", "bias"):
        yield f"{prefix}ln_final.{end}", own.pop(f"final_layer_norm.{end}")
    for layer in range(network.config.num_hidden_layers):
        place = f"encoder.layers.{layer}."
        for end in ("weight", "bias"):
            joined = torch.cat([own.pop(f"{place}self_attn.{part}_proj.{end}") for part in "qkv"])
            yield f"{prefix}transformer.resblocks.{layer}.attn.in_proj_{end}", joined
            for new, old in OPEN_CLIP.items():
                yield f"{prefix}transformer.resblocks.{layer}.{old}.{end}", own.pop(f"{place}{new}.{end}")
    assert not own, own.keys()
