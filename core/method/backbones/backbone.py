"""What the method asks of a backbone, image or text alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from core.method.backbones import shapes
from core.method.backbones.profiler import Profiler
from core.method.lora.model import LoraModel
from core.method.memory.memory import Memory

# Encoded examples, cached once: tensors with the examples in the leading dimension.
# images: mean, std (n, c, h, w) scaled latents; what the first line of a caption says, text (n, tokens, width) and for
# some pooled (n, width), for some words (n,), how many of its tokens are told; for some time_ids (n, 6), its frame.
# Where some caption has several lines: lines (n,), and what those after the first say, (n, most - 1, ...), under the
# names that `others_of` gives. Where some picture is not square: size (n, 2), rows and columns of each latent, which
# fill the upper left of what is kept. Where some picture has a mask: mask (n, 1, h, w), the weight of each place of the
# latent, 0 to 1.
# texts: input_ids, labels, attention_mask (n, T).
# In training, where some examples protect the backbone otherwise than by counting as the rest: weight (n,), what an
# example's own loss counts, and distil (n,), what the distance to the frozen network's prediction counts.
Batch = dict[str, Tensor]
LENGTHS = "words"  # how many tokens each caption has, where they are not all of one length
CAPTION = ("text", "pooled", LENGTHS)  # what a caption says
OTHERS = "others"
IGNORED = -100  # the label of a token that is not learned
# images: {"image": PIL.Image, "caption": str} and, where the caption has more lines, {"others": [str, ...]}; where they
# are not the usual ones, {"size": (width, height)} in pixels and {"mask": PIL.Image} of greys;
# texts: {"messages"} or {"prompt", "completion"} or {"text"}; beside messages {"tools"}, and where something is asked
# {"thoughts": bool}, whether its answer begins with one
Item = Mapping[str, Any]


@dataclass(frozen=True)
class Draw:
    """The randomness of one loss evaluation, a row for each example; all None for a causal language model."""

    timestep: Tensor | None = None  # (n,) integers; of a flow, places in (0, 1)
    noise: Tensor | None = None  # (n, c, h, w)
    latent: Tensor | None = None  # (n, c, h, w), where the latent is drawn and not its mean


class Backbone(Protocol):
    """A frozen network with adapters, and what is needed to train, score and show them."""

    profiler: Profiler  # counts what is computed with it
    memory: Memory  # says how much of that is computed at once

    @property
    def kind(self) -> str:
        """What it is adapted with: images or texts."""

    @property
    def lora(self) -> LoraModel:
        """The frozen network with its places for adapters."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def encode(self, items: Sequence[Item]) -> Batch:
        """Turn items into tensors that can be cached; nothing is encoded twice."""

    @property
    def most_tokens(self) -> int:
        """How many tokens of one item are looked at."""

    def tokens(self, item: Item) -> int:
        """Count the tokens of one item before it is cut."""

    def loss(self, batch: Batch, draw: Draw) -> Tensor:
        """Return the loss of every sample, (N,) in float32, with the adapter in use; N may be R b, run-major.

        A batch with `weight` and `distil` says what the loss and the `distance` of each sample count.
        """

    def distance(self, batch: Batch, draw: Draw) -> Tensor:
        """Return how far what is predicted with the adapter in use is from what is predicted without, (N,).

        images: mean squared difference; texts: KL(without || with) in nats, a mean over the learned tokens.
        """

    def random_draw(self, examples: int, generator: torch.Generator) -> Draw:
        """Return fresh noise for one training step; of pictures that are not square also told their `sizes`."""

    def fixed_draws(self, count: int, examples: int, seed: int) -> list[Draw]:
        """Return the same noise for the same seed, always: timesteps stratified over draws, shared by all examples.

        Pictures of one shape share it; those that are not square are told by their `sizes`.
        """

    def sample(self, prompts: Sequence[str], *, seed: int) -> list[Any]:
        """Return an image or a completion for every prompt, with the adapter in use."""


def take(batch: Batch, index: Tensor) -> Batch:
    """Return the examples `index` of a batch."""
    return {name: tensor[index.to(tensor.device)] for name, tensor in batch.items()}


def part_of(draw: Draw, index: Tensor) -> Draw:
    """Return the noise of a draw that belongs to the examples `index`."""
    cut = {name: None if part is None else part[index.to(part.device)] for name, part in vars(draw).items()}
    return replace(draw, **cut)


def tile(batch: Batch, runs: int) -> Batch:
    """Return the batch `runs` times over, run-major."""
    return {name: tensor.repeat(runs, *(1,) * (tensor.dim() - 1)) for name, tensor in batch.items()}


def tile_draw(draw: Draw, runs: int) -> Draw:
    """Return the draw `runs` times over, so that all runs see the same noise."""
    return Draw(
        **{
            name: None if part is None else part.repeat(runs, *(1,) * (part.dim() - 1))
            for name, part in vars(draw).items()
        }
    )


def join_draws(draws: Sequence[Draw]) -> Draw:
    """Return the noise of all draws as one."""
    parts = {name: [getattr(draw, name) for draw in draws] for name in vars(draws[0])}
    return Draw(**{name: None if part[0] is None else torch.cat(part) for name, part in parts.items()})


def join(batches: Sequence[Batch]) -> Batch:
    """Return the examples of all batches as one.

    Texts are padded to the longest, captions to the most lines, latents to the largest; what has no mask counts whole.
    """
    batches = as_long(shapes.on_one_canvas(batches))
    if any("weight" in batch for batch in batches):
        batches = [_weighed(batch) for batch in batches]
    if any(OTHERS in batch for batch in batches):
        batches = [_with_lines(batch) for batch in batches]
    padded = [name for name, tensor in batches[0].items() if tensor.dim() == 2 or name.startswith(OTHERS)]
    width = {name: max(batch[name].shape[1] for batch in batches) for name in padded}
    return {name: torch.cat([_padded(name, batch[name], width.get(name)) for batch in batches]) for name in batches[0]}


def as_long(batches: Sequence[Batch]) -> list[Batch]:
    """Return the batches with captions of as many tokens in all, filled up with zeros; `words` tells of how many."""
    if not any(LENGTHS in batch for batch in batches):
        return list(batches)
    longest = max(batch[name].shape[-2] for batch in batches for name in ("text", OTHERS) if name in batch)
    return [
        batch
        | {
            name: torch.nn.functional.pad(batch[name], (0, 0, 0, longest - batch[name].shape[-2]))
            for name in ("text", OTHERS)
            if name in batch
        }
        for batch in batches
    ]


def caption_of(batch: Batch) -> tuple[str, ...]:
    """Return the names of a batch's tensors that are what a caption says."""
    return tuple(name for name in CAPTION if name in batch)


def others_of(name: str) -> str:
    """Return the name under which the lines after the first have what the first has under `name`."""
    return OTHERS if name == "text" else f"{OTHERS}_{name}"


def first_lines(batch: Batch) -> Batch:
    """Return the batch under the first line of every caption: what is measured is measured under the same words."""
    return {name: tensor for name, tensor in batch.items() if name != "lines" and not name.startswith(OTHERS)}


def _with_lines(batch: Batch) -> Batch:
    if OTHERS in batch:
        return batch
    said = {name: batch[name] for name in caption_of(batch)}
    none = {others_of(name): tensor.new_zeros(len(tensor), 0, *tensor.shape[1:]) for name, tensor in said.items()}
    return batch | {"lines": torch.ones(count(batch), dtype=torch.long), **none}


def _weighed(batch: Batch) -> Batch:
    """Return a batch in which it is written what each example counts, where it was not."""
    ones = torch.ones(count(batch))
    return batch if "weight" in batch else batch | {"weight": ones, "distil": torch.zeros_like(ones)}


def count(batch: Batch) -> int:
    """Return how many examples a batch has."""
    return len(next(iter(batch.values())))


def by_length(batch: Batch, index: Tensor) -> Tensor:
    """Return the examples `index` of texts with the shortest first: texts of like length need little padding together.

    Those of one length stay in their order, and pictures all of them.
    """
    if "attention_mask" not in batch:
        return index
    lengths = batch["attention_mask"].sum(1).cpu()[index]
    return index[lengths.argsort(stable=True)]


def units(batch: Batch, runs: int = 1) -> int:
    """Return the units of work (see Profiler) of one pass over the batch for each of `runs`."""
    width = int(batch["attention_mask"].sum(1).max()) if "attention_mask" in batch else 1
    return count(batch) * runs * width


def _padded(name: str, tensor: Tensor, width: int | None) -> Tensor:
    if width is None or tensor.shape[1] == width:
        return tensor
    fill = IGNORED if name == "labels" else 0
    return torch.nn.functional.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, width - tensor.shape[1]), value=fill)
