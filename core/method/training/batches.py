"""The endless streams of training batches: references mixed with replayed backbone data, and several streams as one.

Shapes: R runs, b samples a run; a batch holds R b samples, run-major.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from core.method.backbones.backbone import (
    Backbone,
    Batch,
    Draw,
    as_long,
    caption_of,
    count,
    first_lines,
    join,
    join_draws,
    others_of,
    take,
)
from core.method.backbones.shapes import shapes_of, sizes_of
from core.method.protection.protection import Protection
from core.method.training.resuming import State

CAPTIONS_SEED = 5_000  # apart from the seeds of references, replay and noise
SHAPES_SEED = 7_000  # apart from the seeds of references, replay and noise
Shape = tuple[int, int]  # rows and columns of latents


class Batches(Protocol):
    """An endless stream of batches whose place can be saved."""

    def __iter__(self) -> Iterator[tuple[Batch, Draw]]:
        """Return the stream itself."""

    def __next__(self) -> tuple[Batch, Draw]:
        """Return the next batch and its noise."""

    def state(self) -> State:
        """Return where the stream stands."""

    def restore(self, state: State) -> None:
        """Go to where another stream of the same make stood."""


class MixedBatches:
    """Batches of `size` in which a share gamma of the slots, on average, protects what the backbone knew (A1).

    References, what protects and noise each have their own randomness, so runs with the same gamma that differ in what
    protects see the same references in the same order under the same noise: a paired comparison. Pictures of one batch
    have one shape, as `shapes` says: each of them needs references here, and examples where some protect.
    """

    def __init__(
        self,
        backbone: Backbone,
        references: Batch,
        protection: Protection,
        size: int,
        captions: Captions,
        seed: int,
        shapes: ShapesInTurn | None = None,
    ) -> None:
        self._backbone, self._captions, self._size = backbone, captions, size
        self._protection = protection
        examples = protection.examples if protection.used else None
        self._everything = references if examples is None else join([references, examples])
        self._shapes = shapes
        first, known = count(references), shapes_of(self._everything)
        protecting = range(first) if protection.captions is not None else range(first, count(self._everything))
        self._noise = torch.Generator().manual_seed(3 * seed)
        self._own, self._replayed = (
            {
                shape: Shuffled([place for place in span if shape in (None, known[place])], 3 * seed + number)
                for shape in (shapes.known if shapes else [None])
            }
            for number, span in ((1, range(first)), (2, protecting))
        )
        self._unrelated = Shuffled(range(count(protection.captions or references)), 3 * seed + CAPTIONS_SEED)

    def __iter__(self) -> Iterator[tuple[Batch, Draw]]:
        return self

    def __next__(self) -> tuple[Batch, Draw]:
        share = self._protection.share
        slots = batch_slots(share, self._size, self._noise) if share else 0
        shape = next(self._shapes) if self._shapes else None
        own = [next(self._own[shape]) for _ in range(self._size - slots)]
        index = torch.tensor(own + [next(self._replayed[shape]) for _ in range(slots)])
        batch = self._captions.thin(drawn_lines(take(self._everything, index), self._noise), self._noise)
        batch = self._protection.weighed(self._unrelatedly_captioned(batch, slots), slots)
        return batch, self._backbone.random_draw(self._size, self._noise, **sizes_of(batch))

    def _unrelatedly_captioned(self, batch: Batch, slots: int) -> Batch:
        """Return the batch with unrelated captions on its last `slots` pictures, whole and not as their masks say."""
        captions = self._protection.captions
        if captions is None or not slots:
            return batch
        said = take(captions, torch.tensor([next(self._unrelated) for _ in range(slots)]))
        own = count(batch) - slots
        batch, said = as_long([batch, said])
        told = {name: torch.cat([batch[name][:own], said[name].to(batch[name])]) for name in caption_of(batch)}
        if "mask" in batch:
            told["mask"] = torch.cat([batch["mask"][:own], torch.ones_like(batch["mask"][own:])])
        return batch | told

    def state(self) -> State:
        """Return all sources of chance as they stand."""
        parts = {"noise": State(tensors={"generator": self._noise.get_state()})}
        parts |= {f"own{_named(shape)}": shuffled.state() for shape, shuffled in self._own.items()}
        parts |= {f"replayed{_named(shape)}": shuffled.state() for shape, shuffled in self._replayed.items()}
        if self._protection.captions is not None:
            parts["unrelated"] = self._unrelated.state()
        return State.of(parts | ({"shapes": self._shapes.state()} if self._shapes else {}))

    def restore(self, state: State) -> None:
        """Go to where another stream over the same data stood."""
        self._noise.set_state(state.part("noise").tensors["generator"])
        for name, parts in (("own", self._own), ("replayed", self._replayed)):
            for shape, shuffled in parts.items():
                shuffled.restore(state.part(f"{name}{_named(shape)}"))
        if self._protection.captions is not None:
            self._unrelated.restore(state.part("unrelated"))
        if self._shapes:
            self._shapes.restore(state.part("shapes"))


class SideBySide:
    """The batches of R runs as one, run-major, so that run k of a stack trains on stream k."""

    def __init__(self, streams: Sequence[Batches]) -> None:
        self._streams = streams

    def __iter__(self) -> Iterator[tuple[Batch, Draw]]:
        return self

    def __next__(self) -> tuple[Batch, Draw]:
        parts = [next(stream) for stream in self._streams]
        return join([batch for batch, _ in parts]), join_draws([draw for _, draw in parts])

    def state(self) -> State:
        """Return where every stream stands."""
        return State.of({str(run): stream.state() for run, stream in enumerate(self._streams)})

    def restore(self, state: State) -> None:
        """Go to where other streams over the same data stood."""
        for run, stream in enumerate(self._streams):
            stream.restore(state.part(str(run)))


def drawn_lines(batch: Batch, generator: torch.Generator) -> Batch:
    """Return the batch with one line of each caption, drawn anew for every example; each line is as likely.

    As trainers that know such captions do (sd-scripts with enable_wildcard). Where no caption of a job has several
    lines nothing is drawn, so that its chance is what it would be without this.
    """
    if "lines" not in batch:
        return batch
    lines = batch["lines"]
    line = (torch.rand(len(lines), generator=generator) * lines).long().minimum(lines - 1)
    places = torch.arange(len(lines)), (line - 1).clamp_min(0)
    others = {name: batch[others_of(name)][places] for name in caption_of(batch)}
    return first_lines(batch) | _put(batch, others, line > 0)


class Captions:
    """Leave out a share of captions, so that the adapter also learns what guidance steers away from."""

    def __init__(self, share: float, nothing: Batch | None) -> None:
        self.share = share if nothing is not None else 0.0
        self.nothing = nothing  # one row that says what no caption says; None for texts

    def thin(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with each caption left out with probability `share`."""
        if not self.share:
            return batch
        assert self.nothing is not None
        dropped = torch.rand(count(batch), generator=generator) < self.share
        return batch | _put(batch, self.nothing, dropped)


def _put(batch: Batch, said: Batch, where: Tensor) -> Batch:
    """Return what a batch's captions say with `said` in its place where `where` (n,) is true."""
    batch, said = as_long([batch, said])
    return {
        name: torch.where(where.view(-1, *(1,) * (batch[name].dim() - 1)), said[name].to(batch[name]), batch[name])
        for name in caption_of(batch)
    }


class ShapesInTurn:
    """The shape of each step for ever: that of each reference once a pass, in a new order every pass.

    So shapes are trained in proportion to their references. Streams of one seed agree on the shape of every step, as
    the runs of a stack have to.
    """

    def __init__(self, shapes: Sequence[Shape], seed: int) -> None:
        self.known = list(dict.fromkeys(sorted(shapes)))
        self._shapes = shapes
        self._places = Shuffled(range(len(shapes)), seed)

    @classmethod
    def of(cls, references: Batch, seed: int) -> ShapesInTurn | None:
        """Return the turns of these references; None where all have one shape."""
        shapes = shapes_of(references)
        return cls(shapes, SHAPES_SEED + seed) if len(set(shapes)) > 1 else None

    def __iter__(self) -> Iterator[Shape]:
        return self

    def __next__(self) -> Shape:
        return self._shapes[next(self._places)]

    def state(self) -> State:
        """Return where the pass stands."""
        return self._places.state()

    def restore(self, state: State) -> None:
        """Go to where the turns of the same references stood."""
        self._places.restore(state)


class Shuffled:
    """The indices for ever, each once a pass, in a new order every pass."""

    def __init__(self, indices: Sequence[int], seed: int) -> None:
        self.indices = indices
        self.generator = torch.Generator().manual_seed(seed)
        self.order: list[int] = []  # of the present pass
        self.done = 0  # of this pass

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self.done == len(self.order):
            self.order, self.done = torch.randperm(len(self.indices), generator=self.generator).tolist(), 0
        self.done += 1
        return self.indices[self.order[self.done - 1]]

    def state(self) -> State:
        """Return the present pass, and the randomness that the next ones come from."""
        return State({"order": self.order, "done": self.done}, {"generator": self.generator.get_state()})

    def restore(self, state: State) -> None:
        """Go to where another shuffle of as many indices stood."""
        self.order, self.done = list(state.values["order"]), state.values["done"]
        self.generator.set_state(state.tensors["generator"])


def _named(shape: Shape | None) -> str:
    """Name what belongs to a shape in a state; nothing where there is only one."""
    return "" if shape is None else f"-{shape[0]}x{shape[1]}"


def batch_slots(gamma: float, batch_size: int, generator: torch.Generator | None = None) -> int:
    """Draw how many of a batch's slots go to backbone data: gamma * batch_size on average, never further than 1 off."""
    exact = gamma * batch_size
    whole = math.floor(exact + 1e-9)
    fraction = max(0.0, exact - whole)
    return whole + int(torch.rand((), generator=generator).item() < fraction)
