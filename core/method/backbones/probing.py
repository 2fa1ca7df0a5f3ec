"""What a backbone's target modules are found out by: one small pass, before anything is learned."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, count, first_lines, take
from core.method.backbones.shapes import cut, first_shape

LOOKED_AT = 2  # examples: of several, so that a module which joins their rows is found out too
SIDE, TOKENS = 16, 64  # of the latents and the texts that are looked at; what flows does not depend on their size


def leave_out_dead(backbone: Backbone, references: Batch) -> tuple[str, ...]:
    """Leave out the target modules that nothing learned flows through, and return their paths.

    Such are a vision tower under texts, and what only a text stream sees that is thrown away. Raises InvalidInput for
    a module that joins the rows of several samples. The same in every process, for it draws nothing by chance.
    """
    alike = cut(first_shape(first_lines(references)))
    few = torch.arange(min(LOOKED_AT, count(alike)))
    batch = {name: _small(tensor, backbone.kind) for name, tensor in take(alike, few).items() if name != "mask"}
    draw = backbone.fixed_draws(1, len(few), seed=0)[0]
    small = {name: None if part is None else _small(part, backbone.kind) for name, part in vars(draw).items()}
    return backbone.lora.leave_out_dead(lambda: backbone.loss(batch, replace(draw, **small)).sum(), len(few))


def left_out_told(paths: tuple[str, ...]) -> str:
    """Say which target modules were left out."""
    first, count = paths[0], len(paths)
    which = f"The target module {first} is" if count == 1 else f"{count} target modules ({first}, ...) are"
    return f"{which} left out of the adapter: nothing that is learned flows through {'it' if count == 1 else 'them'}."


def _small(tensor: Tensor, kind: str) -> Tensor:
    """Cut latents (n, c, h, w) to their corner, and texts (n, T) to their beginning."""
    if kind == "texts":
        return tensor[:, :TOKENS]
    return tensor[..., :SIDE, :SIDE] if tensor.dim() == 4 else tensor
