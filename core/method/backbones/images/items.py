"""Pictures with their captions, encoded once: latents, what is said of them, how they are framed, and their masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from core.method.backbones.backbone import Batch, Item, as_long, join, others_of, take
from core.method.backbones.images.conditioners.conditioner import Conditioner
from core.method.backbones.images.latents import Latents
from core.method.backbones.images.views import View
from core.method.backbones.profiler import Profiler
from core.method.backbones.shapes import extents, pieces
from core.method.memory.memory import Memory
from core.method.memory.plan import ENCODED_AT_ONCE


class ItemEncoder:
    """Encodes items shape by shape, as many at once as fit; squares of `resolution` where an item says no size."""

    def __init__(self, latents: Latents, conditioner: Conditioner, memory: Memory, resolution: int) -> None:
        self._latents, self._conditioner, self._memory = latents, conditioner, memory
        self._square = resolution, resolution

    def encode(self, items: Sequence[Item], profiler: Profiler) -> Batch:
        """Return latents and all that the network is told of each, with every line of their captions, on the CPU."""
        batch = self._shape_by_shape(items, profiler, lambda item: str(item.get("caption") or ""))
        return as_long([batch | self._other_lines([list(item.get("others") or ()) for item in items])])[0]

    def encode_pictures(self, items: Sequence[Item], profiler: Profiler) -> Batch:
        """Return what `encode` does, without what captions say."""
        return self._shape_by_shape(items, profiler, None)

    @torch.no_grad()
    def _shape_by_shape(
        self, items: Sequence[Item], profiler: Profiler, caption: Callable[[Item], str] | None
    ) -> Batch:
        views = [View.of(item, self._square) for item in items]
        sized = {"size": torch.tensor([view.size for view in views])}

        def compute(piece: Tensor) -> Batch:
            with profiler.timed("encode", len(piece)):
                part = self._seen([views[place] for place in piece])
                if caption is not None:
                    part |= self._conditioner.encode([caption(items[place]) for place in piece])
                return {name: each.cpu() if name == "size" else each.float().cpu() for name, each in part.items()}

        split, one = pieces(sized, ENCODED_AT_ONCE), lambda place: self._seen([views[int(place)]])
        index, parts = zip(*self._memory.each("encode", split, compute, lambda: extents(sized), one=one), strict=True)
        return take(join(parts), torch.cat(index).argsort())

    def _seen(self, views: Sequence[View]) -> Batch:
        """Return what is kept of pictures of one shape: latents, how they are framed, and what masks say."""
        mean, std = self._latents.encode(torch.stack([view.pixels() for view in views]))
        rows, columns = mean.shape[2:]
        kept = {"mean": mean, "std": std, **self._conditioner.framing([view.frame for view in views])}
        if views[0].size != self._square:
            kept["size"] = torch.tensor([[rows, columns]] * len(views))
        if any(view.mask is not None for view in views):
            kept["mask"] = torch.stack([view.weights(rows, columns) for view in views])
        return kept

    def _other_lines(self, others: Sequence[Sequence[str]]) -> Batch:
        """Return what the lines after the first of every caption say; nothing where no caption has any."""
        most = max(map(len, others), default=0)
        if not most:
            return {}
        places = [(item, line) for item, lines in enumerate(others) for line in range(len(lines))]

        def compute(piece: Tensor) -> Batch:
            said = self._conditioner.encode([others[item][line] for item, line in map(places.__getitem__, piece)])
            return {name: tensor.float().cpu() for name, tensor in said.items()}

        split = torch.arange(len(places)).split(ENCODED_AT_ONCE)
        found = self._memory.each("encode", split, compute, lambda: torch.ones(len(places)), key="lines")
        index, parts = zip(*found, strict=True)
        said, held = take(join(parts), torch.cat(index).argsort()), {}
        for name, tensor in said.items():
            rows = held[others_of(name)] = torch.zeros(len(others), most, *tensor.shape[1:])
            rows[tuple(torch.tensor(places).T)] = tensor
        return held | {"lines": torch.tensor([1 + len(lines) for lines in others])}
