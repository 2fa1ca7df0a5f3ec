"""Text encoders that are in memory only while something is encoded: training and drawing do without them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from torch import nn

from core.method.backbones.backbone import Batch
from core.method.backbones.images.conditioners.conditioner import Frame

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


class Encoding(ABC):
    """What conditioners have alike that tell a network of prompts alone, by text encoders that come and go."""

    encoders: TextEncoders

    def encoding(self) -> AbstractContextManager[object]:
        """Keep the text encoders in memory until the block ends."""
        return self.encoders.held()

    @abstractmethod
    def encode(self, prompts: Sequence[str]) -> Batch:
        """Return what prompts say, each tensor with a row for each of them."""

    def nothing(self) -> Batch:
        """Return what the empty prompt says."""
        return self.encode([""])

    def framing(self, frames: Sequence[Frame]) -> Batch:
        """Return nothing: the network is not told how a picture was framed."""
        return {}
