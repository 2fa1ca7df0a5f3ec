"""The endless stream of training batches: references, the folds of them, and replayed backbone data.

Shapes: R runs, b samples a run; a batch holds R b samples, run-major.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from core.method.backbone import Backbone, Batch, Draw, count, join, join_draws, take
from core.method.mixing import batch_slots


class Captions:
    """Leave out a share of captions, so that the adapter also learns what guidance steers away from."""

    def __init__(self, share: float, empty: Tensor | None) -> None:
        self.share = share if empty is not None else 0.0
        self.empty = empty  # (1, tokens, width), the embedding of no caption; None for texts

    def thin(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with each caption left out with probability `share`."""
        if not self.share:
            return batch
        assert self.empty is not None
        dropped = torch.rand(count(batch), generator=generator) < self.share
        return batch | {"text": torch.where(dropped[:, None, None], self.empty.to(batch["text"]), batch["text"])}


def shuffled(indices: Sequence[int], generator: torch.Generator) -> Iterator[int]:
    """Yield the indices for ever, each once a pass, in a new order every pass."""
    while True:
        for place in torch.randperm(len(indices), generator=generator).tolist():
            yield indices[place]


def mixed_batches(
    backbone: Backbone,
    references: Batch,
    selected: Batch | None,
    gamma: float,
    size: int,
    captions: Captions,
    seed: int,
) -> Iterator[tuple[Batch, Draw]]:
    """Yield batches of `size` in which a share gamma of the slots, on average, is replayed backbone data (A1).

    References, replayed data and noise each have their own randomness, so runs with the same gamma that differ in what
    they replay see the same references in the same order under the same noise: a paired comparison.
    """
    generator, order, other = (torch.Generator().manual_seed(3 * seed + part) for part in range(3))
    everything = references if selected is None else join([references, selected])
    first = count(references)
    own = shuffled(range(first), order)
    replayed = shuffled(range(first, count(everything)), other)
    while True:
        slots = batch_slots(gamma, size, generator) if selected is not None else 0
        index = torch.tensor([next(own) for _ in range(size - slots)] + [next(replayed) for _ in range(slots)])
        batch = captions.thin(take(everything, index), generator)
        yield batch, backbone.random_draw(size, generator)


def side_by_side(streams: Sequence[Iterator[tuple[Batch, Draw]]]) -> Iterator[tuple[Batch, Draw]]:
    """Yield the batches of R runs as one, run-major, so that run k of a stack trains on stream k."""
    for parts in zip(*streams, strict=True):
        yield join([batch for batch, _ in parts]), join_draws([draw for _, draw in parts])
