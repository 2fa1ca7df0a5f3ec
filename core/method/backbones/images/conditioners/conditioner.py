"""What tells a network of pictures what to draw: prompts, and for some how a picture is framed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from core.method.backbones.backbone import Batch


@dataclass(frozen=True)
class Frame:
    """How a picture came to be what is learned from; each pair is (vertical, horizontal), in pixels."""

    original: tuple[int, int]  # the size of the file
    corner: tuple[int, int]  # what is cut off above and left, after resizing
    target: tuple[int, int]  # the size of what is left

    @classmethod
    def whole(cls, height: int, width: int) -> Frame:
        """Return the frame of a picture that is drawn: nothing is resized or cut."""
        return cls((height, width), (0, 0), (height, width))


class Conditioner(Protocol):
    """Encodes prompts as the pipeline of a family does; its text encoders are in memory only while it encodes."""

    names: tuple[str, ...]  # of all that the network is told, as they are called in a batch

    def encoding(self) -> AbstractContextManager[object]:
        """Keep the text encoders in memory until the block ends, however often it encodes inside."""

    def encode(self, prompts: Sequence[str]) -> Batch:
        """Return what prompts say, each tensor with a row for each of them."""

    def nothing(self) -> Batch:
        """Return one row that says what no prompt says: what guidance steers away from."""

    def framing(self, frames: Sequence[Frame]) -> Batch:
        """Return what is said about frames, a row for each; empty where nothing is."""

    def asked(self, wanted: Batch, unwanted: Batch) -> dict[str, Any]:
        """Return the arguments by which the pipeline takes encoded prompts and what to steer away from."""

    @property
    def most_tokens(self) -> int:
        """How many tokens of a prompt are looked at."""

    def tokens(self, prompt: str) -> int:
        """Count the tokens of a prompt before it is cut."""
