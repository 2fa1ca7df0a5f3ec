"""What the method asks of a pre-trained model: encode, lose, draw noise, sample.

Shapes: R stacked runs, b samples a run, N = R b samples in one batch, run-major; n examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from core.method.lora import LoraModel

Batch = dict[str, Tensor]
"""Encoded examples on the CPU, one tensor a name, examples first.

Images: `mean` and `std` of the scaled latent (n, c, h, w), `text` the caption's embedding (n, t, d).
Texts: `input_ids`, `labels` (-100: not learnt) and `attention_mask`, all (n, t), padded on the right.
"""

IGNORED = -100  # the label of a token that is not learnt


@dataclass(frozen=True)
class Draw:
    """Hold the random part of a loss, one row an example; a part that is None is not random (texts have none)."""

    timestep: Tensor | None = None  # (n,) int64
    noise: Tensor | None = None  # (n, c, h, w)
    posterior: Tensor | None = None  # (n, c, h, w): where within the latent's posterior; None is its mean
    dropped: Tensor | None = None  # (n,) bool: examples that get no caption

    def take(self, index: Tensor) -> Draw:
        """Return the rows of the examples `index`; an index may repeat."""
        return Draw(*(None if part is None else part[index] for part in vars(self).values()))


class Backbone(Protocol):
    """A frozen pre-trained model with LoRA branches."""

    kind: Literal["images", "texts"]
    lora: LoraModel
    device: torch.device
    findings: list[str]  # what the last `encode` had to change, a sentence each

    def encode(self, items: Sequence[Mapping[str, object]]) -> Batch:
        """Encode examples once: {"image": PIL image, "caption": str}, or {"messages"}, {"prompt", "completion"}, {"text"}."""
        ...

    def loss(self, batch: Batch, draw: Draw) -> Tensor:
        """Return every sample's loss (N,) in float32, with the adapter in use."""
        ...

    def random_draw(self, count: int, generator: torch.Generator, drop: float = 0.0) -> Draw:
        """Return training noise for `count` examples; a share `drop` of them loses its caption."""
        ...

    def fixed_draws(self, count: int, examples: int, seed: int) -> list[Draw]:
        """Return `count` draws that are the same for a seed and for every example, timesteps stratified; texts: one."""
        ...

    def sample(
        self,
        prompts: Sequence[str],
        *,
        seed: int,
        steps: int = 20,
        guidance: float = 3.0,
        max_new_tokens: int = 40,
    ) -> list[Image.Image] | list[str]:
        """Return one image or text a prompt, with the adapter in use (one run, or none)."""
        ...

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return where images lie in the bare backbone's own feature space (n, f); texts have none."""
        ...

    def state(self) -> dict[str, str | int | float]:
        """Return the facts about the model that belong on the adapter's card."""
        ...


def take(batch: Batch, index: Tensor) -> Batch:
    """Return the examples `index`; an index may repeat."""
    return {name: rows[index] for name, rows in batch.items()}


def join(batches: Sequence[Batch]) -> Batch:
    """Return the examples of all `batches` as one batch, texts padded to the longest."""
    if "input_ids" not in batches[0]:
        return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    longest = max(batch["input_ids"].shape[1] for batch in batches)
    return {name: torch.cat([_lengthen(batch[name], longest, name) for batch in batches]) for name in batches[0]}


def _lengthen(rows: Tensor, length: int, name: str) -> Tensor:
    return functional.pad(rows, (0, length - rows.shape[1]), value=IGNORED if name == "labels" else 0)
