"""Judge pictures as a person would: is it the subject or in the style, is the content still there, is the rest left?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from benchmarks.presets.colours import SIDE, Pixels
from benchmarks.presets.conversions import convert
from benchmarks.presets.encoder import features
from benchmarks.presets.traits import TRAITS
from benchmarks.presets.verdicts import Verdict

Pictures = Sequence[Image.Image]


# How alike an unrelated picture stays to what it was; set by eye: a bear that turns violet has .5, one that stays .95.
KEPT = 0.6


class TraitJudge:
    """The traits of a set, with what its references say is enough."""

    def __init__(self, name: str, references: Pictures) -> None:
        self.traits = TRAITS[name]
        shown = [Pixels(picture) for picture in references]
        self._enough = [max(1e-6, trait.enough * min(map(trait.measure, shown))) for trait in self.traits]

    def shares(self, picture: Image.Image) -> dict[str, float]:
        """Return how much of what is enough the picture has of each trait, at most 1."""
        pixels = Pixels(picture)
        found = zip(self.traits, self._enough, strict=True)
        return {trait.name: min(1.0, trait.measure(pixels) / enough) for trait, enough in found}

    def accepts(self, shares: Mapping[str, float]) -> bool:
        """Tell whether everything that is needed is there."""
        return all(shares[trait.name] >= 1 for trait in self.traits if trait.needed)


class SubjectJudge:
    """Is it the subject: all parts at their places, and nearer to a reference than to anything the backbone knows?"""

    def __init__(self, name: str, references: Pictures, before: Pictures, pool: Pictures) -> None:
        self._traits = TraitJudge(name, references)
        self._own, self._others = features(references), features([*before, *pool])

    def asked(self, pictures: Pictures) -> list[Verdict]:
        """Return a verdict for each picture of the subject."""
        seen = features(pictures)
        near = nearest(seen, self._own) > nearest(seen, self._others)
        verdicts = []
        for picture, is_near in zip(pictures, near.tolist(), strict=True):
            checks = {**self._traits.shares(picture), "nearest": float(is_near)}
            verdicts.append(Verdict(_mean(checks), is_near and self._traits.accepts(checks), checks))
        return verdicts


class StyleJudge:
    """Is it in the style, and is its content told apart from the other contents asked for?

    Content is looked for without the style's colours: by the encoder in grey, or by where luminance changes. One of the
    two is enough: the encoder knows no strokes, and outlines know no things.
    """

    def __init__(self, name: str, references: Pictures, before: Pictures) -> None:
        """`before` is what the untouched backbone draws for the same contents in the same order and noise."""
        self._traits = TraitJudge(name, references)
        styled = [convert(name, picture) for picture in before]
        self._seen, self._outlines = features(list(map(_grey, styled))), outlines(styled)

    def asked(self, pictures: Pictures) -> list[Verdict]:
        """Return a verdict for each picture; its place in the list says which content was asked for."""
        by_eye = (features(list(map(_grey, pictures))) @ self._seen.T).argmax(1).tolist()
        by_outline = (outlines(pictures) @ self._outlines.T).argmax(1).tolist()
        verdicts = []
        for place, picture in enumerate(pictures):
            shares = self._traits.shares(picture)
            right = place in (by_eye[place], by_outline[place])
            checks = {**shares, "content": float(right)}
            weakest = min(shares.values())
            verdicts.append(Verdict(weakest * right, right and self._traits.accepts(shares), checks))
        return verdicts


class KeptJudge:
    """Is an unrelated picture still the one that the untouched backbone draws, and not on its way to the references?"""

    def __init__(self, before: Pictures, references: Pictures, taken: Pictures = ()) -> None:
        """`before` is what the untouched backbone draws for the same prompts and noise, `taken` that in the style."""
        self._own, self._others = features(before), features([*references, *taken])

    def unrelated(self, pictures: Pictures) -> list[Verdict]:
        """Return a verdict for each picture; its place in the list says which prompt and noise it comes from."""
        seen = features(pictures)
        found, away = seen @ self._own.T, nearest(seen, self._others)
        verdicts = []
        for place, row in enumerate(found):
            own = bool(row.argmax() == place and row[place] > max(KEPT, float(away[place])))
            likeness = max(0.0, float(row[place]))
            verdicts.append(Verdict(float(own), own, {"likeness": likeness, "taken": float(row[place] <= away[place])}))
        return verdicts


def nearest(pictures: Tensor, others: Tensor) -> Tensor:
    """Return how alike each picture is to the most alike of the others, (n,)."""
    return (pictures @ others.T).amax(1)


def outlines(pictures: Pictures) -> Tensor:
    """Return where luminance changes in each picture, blurred by a pixel, (n, p) of unit length around its mean."""
    rows = []
    for picture in pictures:
        small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        down, across = np.gradient(np.asarray(small.filter(ImageFilter.GaussianBlur(1.0)), np.float32))
        steep = np.hypot(down, across)
        rows.append((steep - steep.mean()).ravel())
    return torch.nn.functional.normalize(torch.from_numpy(np.stack(rows)), dim=1)


def _grey(picture: Image.Image) -> Image.Image:
    return picture.convert("L").convert("RGB")


def _mean(checks: Mapping[str, float]) -> float:
    return sum(checks.values()) / len(checks)
