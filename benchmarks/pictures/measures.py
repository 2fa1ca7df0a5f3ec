"""What drawn pictures show to an encoder that has nothing to do with the backbone.

Of the own prompts, whose pictures no run has seen, `similarity` is how far their drawings have gone from what the
untouched backbone draws (0) to those pictures (1). Of unrelated prompts, `distance` is 1 - cosine between a drawing and
the untouched backbone's from the same noise, `drift` that over what two different prompts' drawings are apart,
`swallowed` how far they have gone towards the references, and `recognised` the share that still is nearest to what its
own prompt drew. What begins with `backbone_` is the same in the backbone's features: of a style, of how it is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from benchmarks.presets.encoder import features
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.lora.adapter import Adapter

SAMPLER_STEPS = 12
OWN = 4  # pictures of own prompts; the unrelated prompts are drawn once each
UNRELATED_SEED = 1000  # apart from the own prompts' seeds


@dataclass(frozen=True)
class Drawn:
    """Hold what one adapter draws."""

    own: list[Image.Image]
    unrelated: list[Image.Image]


class View:
    """What one eye saw of the untouched backbone's drawings, and the ways from there to the pictures."""

    def __init__(
        self,
        eye: Callable[[Sequence[Image.Image]], Tensor],
        before: Drawn,
        held_out: Sequence[Image.Image],
        references: Sequence[Image.Image],
    ) -> None:
        self.eye, self.own, self.unrelated = eye, eye(before.own), eye(before.unrelated)
        self.ways = _way(self.own, eye(held_out)), _way(self.unrelated, eye(references))

    def gone(self, own: Tensor, unrelated: Tensor) -> dict[str, float]:
        """Return how far the drawings have gone on either way."""
        similarity, swallowed = _gone(self.own, own, self.ways[0]), _gone(self.unrelated, unrelated, self.ways[1])
        return {"similarity": similarity, "swallowed": swallowed}


class Measures:
    """Draw the prompts of one experiment under any adapter, and say how that differs from the untouched backbone."""

    def __init__(
        self,
        backbone: DiffusionBackbone,
        own: Sequence[str],
        unrelated: Sequence[str],
        *,
        references: Sequence[Image.Image],
        held_out: Sequence[Image.Image],
        style: bool,
        seed: int,
    ) -> None:
        """Draw what everything is compared with; `held_out` are the pictures that the own prompts describe."""
        self.backbone, self.unrelated, self.seed = backbone, tuple(unrelated), seed
        self.own = [*own] * (-(-OWN // len(own)))
        self.before = self.draw(None)
        self.view = View(features, self.before, held_out, references)
        seen = backbone.style_features if style else backbone.features
        self.inner = View(seen, self.before, held_out, references)
        self.apart = _apart(self.view.unrelated)

    def draw(self, adapter: Adapter | None) -> Drawn:
        """Return the drawings of both kinds of prompts; the noise is the same for every adapter."""
        with self.backbone.lora.use(adapter):
            own = self.backbone.sample(self.own[:OWN], seed=self.seed, steps=SAMPLER_STEPS)
            other = self.backbone.sample(self.unrelated, seed=self.seed + UNRELATED_SEED, steps=SAMPLER_STEPS)
        return Drawn(own, other)

    def of(self, drawn: Drawn) -> dict[str, float]:
        """Return the measures of what an adapter draws."""
        own, other = features(drawn.own), features(drawn.unrelated)
        likeness = other @ self.view.unrelated.T
        distance = float(1 - likeness.diagonal().mean())
        inner = self.inner.gone(self.inner.eye(drawn.own), self.inner.eye(drawn.unrelated))
        return {
            **self.view.gone(own, other),
            "distance": distance,
            "drift": distance / self.apart,
            "recognised": float((likeness.argmax(1) == torch.arange(len(other))).float().mean()),
            **{f"backbone_{name}": value for name, value in inner.items()},
        }


def _apart(seen: Tensor) -> float:
    """Return the mean distance of two different pictures."""
    likeness = seen @ seen.T
    return float(1 - (likeness.sum() - likeness.diagonal().sum()) / (likeness.numel() - len(likeness)))


def _way(before: Tensor, target: Tensor) -> Tensor:
    return target.mean(0) - before.mean(0)


def _gone(before: Tensor, now: Tensor, way: Tensor) -> float:
    """Return which share of the way the pictures have gone on average."""
    return float(((now - before) @ way).mean() / way.square().sum().clamp_min(1e-12))
