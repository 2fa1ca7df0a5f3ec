"""Where one looks into a network of pictures: which of its blocks sees what they show, and which how they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

# what a block gave, and how many places of a picture it was given: (n, channels, places)
Read = Callable[[Any, int], Tensor]
Find = Callable[[Any], Any]  # a block of a network


@dataclass(frozen=True)
class Sights:
    """The middle block of a network, a shallow one, and how what they give is read.

    `detailed` says whether pictures are compared place by place. The mean over a transformer's tokens was as near to
    the references for smudged faces as for clean ones; of U-Nets nobody has compared both.
    """

    middle: Find
    shallow: Find
    read: Read
    detailed: bool = True


def of_map(given: Tensor | tuple[Tensor, ...], _places: int) -> Tensor:
    """Read a map of channels, the first of several tensors."""
    return (given if isinstance(given, Tensor) else given[0]).flatten(2)


def of_streams(given: Tensor | tuple[Tensor, Tensor], places: int) -> Tensor:
    """Read the tokens of pictures that a block gives beside those of texts, or after them, one for each place."""
    return (given[:, -places:] if isinstance(given, Tensor) else given[1]).transpose(1, 2)


def of_joined(given: Tensor, places: int) -> Tensor:
    """Read the tokens of pictures, 2 x 2 places each, that a block gives before those of texts."""
    return given[:, : places // 4].transpose(1, 2)


def _blocks(network: Any) -> list[Any]:
    """Return the blocks of a transformer of two streams; FLUX joins both in its later ones."""
    return [*network.transformer_blocks, *getattr(network, "single_transformer_blocks", ())]


def _middle(network: Any) -> Any:
    blocks = _blocks(network)
    return blocks[len(blocks) // 2]


UNET = Sights(
    middle=lambda network: network.mid_block or network.down_blocks[-1],  # small SDXLs have no middle
    shallow=lambda network: network.down_blocks[0],
    read=of_map,
    detailed=False,
)
STREAMS = Sights(middle=_middle, shallow=lambda network: network.transformer_blocks[0], read=of_streams)
JOINED = Sights(
    middle=lambda network: network.layers[len(network.layers) // 2],
    shallow=lambda network: network.noise_refiner[0],
    read=of_joined,
)
