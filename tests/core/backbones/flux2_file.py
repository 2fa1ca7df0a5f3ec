"""A transformer of FLUX.2 alone in one file, written from diffusers' own: the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMES = {
    "x_embedder.": "img_in.",
    "context_embedder.": "txt_in.",
    "time_guidance_embed.timestep_embedder.linear_1.": "time_in.in_layer.",
    "time_guidance_embed.timestep_embedder.linear_2.": "time_in.out_layer.",
    "time_guidance_embed.guidance_embedder.linear_1.": "guidance_in.in_layer.",
    "time_guidance_embed.guidance_embedder.linear_2.": "guidance_in.out_layer.",
    "_modulation_img.linear.": "_modulation_img.lin.",
    "_modulation_txt.linear.": "_modulation_txt.lin.",
    "single_stream_modulation.linear.": "single_stream_modulation.lin.",
    "proj_out.": "final_layer.linear.",
    "single_transformer_blocks.": "single_blocks.",
    "transformer_blocks.": "double_blocks.",
    ".attn.to_qkv_mlp_proj.": ".linear1.",
    ".attn.to_out.0.": ".img_attn.proj.",
    ".attn.to_out.": ".linear2.",
    ".attn.to_add_out.": ".txt_attn.proj.",
    ".attn.norm_added_q.weight": ".txt_attn.norm.query_norm.scale",
    ".attn.norm_added_k.weight": ".txt_attn.norm.key_norm.scale",
    ".ff.linear_in.": ".img_mlp.0.",
    ".ff.linear_out.": ".img_mlp.2.",
    ".ff_context.linear_in.": ".txt_mlp.0.",
    ".ff_context.linear_out.": ".txt_mlp.2.",
}
NORMS = {".attn.norm_q.weight": "query_norm.scale", ".attn.norm_k.weight": "key_norm.scale"}
JOINED = {
    ".attn.to_q.": (".img_attn.qkv.", (".attn.to_q.", ".attn.to_k.", ".attn.to_v.")),
    ".attn.add_q_proj.": (".txt_attn.qkv.", (".attn.add_q_proj.", ".attn.add_k_proj.", ".attn.add_v_proj.")),
}
LAST = "norm_out.linear.weight"


def write_flux2(transformer: Any, file: Path) -> Path:
    """Write the file: queries, keys and values of a stream are one matrix, and the last norm's shift comes first."""
    import torch
    from safetensors.torch import save_file

    own, tensors, joined = transformer.state_dict(), {}, set[str]()
    for name in own:
        for first, (whole, parts) in JOINED.items():
            if first in name:
                same = [name.replace(first, part) for part in parts]
                joined.update(same)
                tensors[_published(name.replace(first, whole))] = torch.cat([own[each] for each in same])
    for name in own.keys() - joined - {LAST}:
        tensors[_published(name)] = own[name].contiguous()
    scale, shift = own[LAST].chunk(2)
    tensors["final_layer.adaLN_modulation.1.weight"] = torch.cat([shift, scale])
    save_file(tensors, file)
    return file


def _published(name: str) -> str:
    for end, norm in NORMS.items():
        if name.endswith(end):
            inside = ".norm." if name.startswith("single_") else ".img_attn.norm."
            name = name.removesuffix(end) + inside + norm
    for new, old in NAMES.items():
        name = name.replace(new, old)
    return name
