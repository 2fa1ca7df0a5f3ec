"""Text encoders that are in memory only while something is encoded: training and drawing do without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

Load = Callable[[], tuple[nn.Module, ...]]


class TextEncoders:
    """The frozen text encoders of one backbone, read from its folder whenever they are needed."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._models: tuple[nn.Module, ...] = ()
        self._users = 0

    @contextmanager
    def held(self) -> Iterator[tuple[nn.Module, ...]]:
        """Give the encoders; those of the outermost block are kept until it ends, and then dropped."""
        if not self._users:
            self._models = tuple(model.requires_grad_(False).eval() for model in self._load())
        self._users += 1
        try:
            yield self._models
        finally:
            self._users -= 1
            if not self._users:
                self._models = ()
