"""What a backbone's target modules are found out by: one tiny pass, before anything is learned."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image
from torch import Tensor

from core.method.backbones.backbone import Backbone, Item

# Two items of unequal length: a module that joins their rows is found out too.
TEXTS: tuple[Item, ...] = ({"text": "Yes."}, {"text": "A few more words than that."})
CAPTIONS = ("a cat", "a small cat on a wooden chair by the sea")
SIDE = 16  # of the latents that are looked at; what flows does not depend on the size


def leave_out_dead(backbone: Backbone) -> tuple[str, ...]:
    """Leave out the target modules that nothing learned flows through, and return their paths.

    Such are a vision tower under texts, and the text stream of a last block that is thrown away. Raises InvalidInput
    for a module that joins the rows of several samples. The same in every process, for it draws nothing by chance.
    """
    items = TEXTS if backbone.kind == "texts" else _images()
    batch = {name: _small(tensor) for name, tensor in backbone.encode(items).items()}
    draw = backbone.fixed_draws(1, len(items), seed=0)[0]
    small = {name: None if part is None else _small(part) for name, part in vars(draw).items()}
    return backbone.lora.leave_out_dead(lambda: backbone.loss(batch, replace(draw, **small)).sum(), len(items))


def left_out_told(paths: tuple[str, ...]) -> str:
    """Say which target modules were left out."""
    first, count = paths[0], len(paths)
    which = f"The target module {first} is" if count == 1 else f"{count} target modules ({first}, ...) are"
    return f"{which} left out of the adapter: nothing that is learned flows through {'it' if count == 1 else 'them'}."


def _images() -> tuple[Item, ...]:
    return tuple({"image": Image.new("RGB", (64, 64), (96, 128, 160)), "caption": words} for words in CAPTIONS)


def _small(tensor: Tensor) -> Tensor:
    return tensor[..., :SIDE, :SIDE] if tensor.dim() == 4 else tensor
