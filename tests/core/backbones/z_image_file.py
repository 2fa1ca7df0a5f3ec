"""A transformer of Z-Image alone in one file, written from diffusers' own: the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMES = {
    "all_final_layer.2-1.": "final_layer.",
    "all_x_embedder.2-1.": "x_embedder.",
    ".attention.to_out.0.": ".attention.out.",
    ".attention.norm_k.": ".attention.k_norm.",
    ".attention.norm_q.": ".attention.q_norm.",
}
QUERIES = ".attention.to_q."


def write_z_image(transformer: Any, file: Path) -> Path:
    """Write the file, with a last norm that nothing reads, as published files have it."""
    import torch
    from safetensors.torch import save_file

    own = transformer.state_dict()
    tensors = {"norm_final.weight": torch.ones(transformer.config.dim)}
    for name, tensor in own.items():
        if QUERIES in name:
            parts = [own[name.replace(QUERIES, f".attention.to_{part}.")] for part in "qkv"]
            tensors[name.replace(QUERIES, ".attention.qkv.")] = torch.cat(parts)
        elif ".attention.to_k." not in name and ".attention.to_v." not in name:
            for new, old in NAMES.items():
                name = name.replace(new, old)
            tensors[name] = tensor.contiguous()
    save_file(tensors, file)
    return file
