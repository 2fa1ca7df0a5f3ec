"""Which kept step draws the subject and nothing but the subject: the picture evidence behind stop="auto" for images.

The optimum of the denoising loss is not that of the pictures: on our test backbone no run drew a clean subject where
its held-out loss was best, and all did at several times that step. What ends the good range is swallowing: unrelated
prompts turn into the subject. Both are measured in the backbone's own feature space, on fixed-seed samples, on one
scale: 0 is what the same prompts drew before training, 1 is the mean of the references. The rule is our own.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image
from torch import Tensor

from core.method.backbones.backbone import Backbone
from core.method.backbones.lora import Adapter
from core.parameters.schedule import PICTURES

# Both shares were set by eye on runs with and without replay of one subject on the emoji backbone.
LEVELLED_SHARE = 0.9  # share of the best similarity from which on the subject counts as there
SWALLOWED_SHARE = 0.15  # share of the subject's own way that unrelated prompts may go towards it
MIN_SIMILARITY = 0.1  # below this best similarity the pictures do not show the subject at all
UNRELATED_SEED = 1000  # apart from the subject's seeds


class PictureBackbone(Backbone, Protocol):
    """A backbone that draws, and that can say how alike two pictures are."""

    def sample(self, prompts: Sequence[str], *, seed: int) -> list[Image.Image]:
        """Return one image for every prompt; the same seed gives each place the same starting noise."""

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return features (n, f) of the frozen backbone."""


@dataclass(frozen=True)
class Pictures:
    """Hold what one step draws (step 0: before training), and how alike that is to the references."""

    step: int
    subject: tuple[tuple[str, Image.Image], ...]  # (prompt, picture)
    unrelated: tuple[tuple[str, Image.Image], ...]
    similarity: float  # subject prompts, 0 before training and 1 like the references
    swallowed: float  # unrelated prompts, the same scale
    drift: float  # how far unrelated pictures moved in any direction, relative to how much they differ


@dataclass(frozen=True)
class PictureEvidence:
    """Say which step the pictures favour and why; None where they do not show the subject."""

    published_step: int | None
    reason: str


def judge_pictures(
    backbone: PictureBackbone,
    snapshots: Mapping[int, Adapter],
    steps: Sequence[int],
    prompts: Sequence[str],
    unrelated: Sequence[str],
    references: Sequence[Image.Image],
    *,
    seed: int,
) -> Generator[Pictures, None, PictureEvidence]:
    """Draw every step's samples, yield them measured, and return the step whose subject is there and alone.

    `steps` are kept ones between t* and the end of the run, `references` the pictures trained on.
    """
    asked = _repeated(prompts), _repeated(unrelated)
    before = [_draw(backbone, None, part, seed + place * UNRELATED_SEED) for place, part in enumerate(asked)]
    target = backbone.features(references)
    subject, other = (_Way(target, backbone.features(images)) for images in before)
    yield _pictures(0, asked, before, (0.0, 0.0, 0.0))
    judged = []
    for step in sorted(steps):
        adapter = snapshots[step].to(backbone.device)
        drawn = [_draw(backbone, adapter, part, seed + place * UNRELATED_SEED) for place, part in enumerate(asked)]
        own, others = (backbone.features(images) for images in drawn)
        judged.append(_pictures(step, asked, drawn, (subject.gone(own), other.gone(others), other.drift(others))))
        yield judged[-1]
    return choose(judged)


def choose(judged: Sequence[Pictures]) -> PictureEvidence:
    """Name the first step at which the subject has levelled off, or the last before swallowing if that comes first."""
    best = max((one.similarity for one in judged), default=0.0)
    if best < MIN_SIMILARITY:
        return PictureEvidence(None, "The sample pictures do not show the subject, so they have no say in the step.")
    levelled = next(one for one in judged if one.similarity >= LEVELLED_SHARE * best)
    begun = next((place for place, one in enumerate(judged) if one.swallowed > SWALLOWED_SHARE * best), len(judged))
    if begun > judged.index(levelled):
        return PictureEvidence(
            levelled.step,
            f"Published step {levelled.step}: there the subject's pictures stop coming closer to the references "
            f"({levelled.similarity:.0%} of the way), and unrelated prompts are not drawn into it yet "
            f"({levelled.swallowed:.0%}).",
        )
    last = judged[max(0, begun - 1)]
    return PictureEvidence(
        last.step,
        f"Published step {last.step}: after it unrelated prompts start to turn into the subject, although its pictures "
        f"({last.similarity:.0%} of the way to the references) would still come closer.",
    )


class _Way:
    """The straight way, in feature space, from what some prompts drew before training to the references."""

    def __init__(self, references: Tensor, before: Tensor) -> None:
        self.before = before
        self.direction = references.mean(0) - before.mean(0)

    def gone(self, now: Tensor) -> float:
        """Return which share of the way the pictures have gone on average: 0 before training, 1 at the references."""
        return float(((now - self.before) @ self.direction).mean() / self.direction.square().sum().clamp_min(1e-12))

    def drift(self, now: Tensor) -> float:
        """Return how far the pictures moved in any direction, relative to how much they differed among themselves."""
        spread = (self.before - self.before.mean(0)).norm(dim=1).mean().clamp_min(1e-12)
        return float((now - self.before).norm(dim=1).mean() / spread)


def _repeated(prompts: Sequence[str]) -> list[str]:
    return [*prompts] * max(1, -(-PICTURES // max(1, len(prompts))))


def _draw(backbone: PictureBackbone, adapter: Adapter | None, prompts: Sequence[str], seed: int) -> list[Image.Image]:
    with backbone.lora.use(adapter):
        return backbone.sample(prompts, seed=seed)


def _pictures(
    step: int, asked: tuple[list[str], list[str]], drawn: list[list[Image.Image]], measured: tuple[float, float, float]
) -> Pictures:
    subject, unrelated = (tuple(zip(*pair, strict=True)) for pair in zip(asked, drawn, strict=True))
    return Pictures(step, subject, unrelated, *measured)
