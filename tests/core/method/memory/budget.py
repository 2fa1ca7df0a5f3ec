"""A device of less memory than there is: what is made beyond it raises, as CUDA's allocator does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, Draw, count
from core.method.memory.measuring import Living

WORDS = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.65 GiB."


class Budget(Living):
    """Refuses operations whose results, with all that was made since and is still there, take more than so many bytes.

    What the operation has made is gone again when it raises.
    """

    def __init__(self, bytes_: int) -> None:
        super().__init__()
        self.bytes, self.refused = bytes_, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute, and let go of it where there is no room."""
        found = super().__torch_dispatch__(func, types, args, kwargs)
        if self.now > self.bytes:
            self.refused += 1
            raise torch.OutOfMemoryError(WORDS)
        return found


@contextmanager
def narrow(backbone: Backbone, most: int) -> Iterator[list[int]]:
    """Let a backbone compute losses of so many samples at once at most; tells how many were asked for each time."""
    whole, asked = type(backbone).loss, list[int]()

    def loss(batch: Batch, draw: Draw) -> Tensor:
        asked.append(count(batch))
        if count(batch) > most:
            raise torch.OutOfMemoryError(WORDS)
        return whole(backbone, batch, draw)

    backbone.loss = loss
    try:
        yield asked
    finally:
        del backbone.loss
