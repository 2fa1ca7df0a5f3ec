"""What a word does to prompts in the untouched backbone: whether it marks them, or erases what they say.

For a prompt p and the same prompt with the word, p', over a few timesteps and one noise each,

    change = |e(p') - e(p)|^2 / |e(p) - e("")|^2

with e the prediction from pure noise: 0 where the word changes nothing, about 1 where as little is left of what the
prompt says as of no prompt at all. Our own measure. Both limits were set by eye, on pictures of our emoji backbone;
what eight rare words do to eight prompts is a table of docs/method.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from core.method.backbones.backbone import Draw
from core.method.backbones.images.diffusion import DiffusionBackbone

Place = Callable[[str, str], str]  # a prompt and a word: the prompt with the word
HARMLESS, ERASES = 0.2, 0.3
CANDIDATES = ("sks", "ohwx", "zwx", "qzv", "xjy", "vqk", "mjq", "wug")
DRAWS, SEED = 4, 0
PROMPTS_AT_ONCE = 32
SAYS_NOTHING = 1e-6  # mean |e(p) - e("")|^2 / |e("")|^2 below which prompts say nothing that a word could erase
SAYS_LITTLE = 0.1  # share of the mean |e(p) - e("")|^2: a prompt that says less is divided by this


@dataclass(frozen=True)
class Change:
    """How far a word changes prompts: the mean, and the prompt that it changes most."""

    mean: float
    worst: float

    @classmethod
    def of(cls, changes: Sequence[float]) -> Change:
        """Return the mean and the worst of at least one prompt."""
        return cls(sum(changes) / len(changes), max(changes))


@dataclass(frozen=True)
class Word:
    """A word in prompts, and what it does to them."""

    word: str
    change: Change


def changes(backbone: DiffusionBackbone, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Measure prompts with a word against the same without it: `pairs` are (without, with), at least one.

    Where the prompts say nothing to the backbone, in a script that it does not read say, nothing of them is changed.
    """
    prompts = list(dict.fromkeys(["", *(prompt for pair in pairs for prompt in pair)]))
    moved, said, whole = torch.zeros(len(pairs)), torch.zeros(len(pairs)), 0.0
    without, with_word = (torch.tensor([prompts.index(pair[side]) for pair in pairs]) for side in (0, 1))
    for draw in backbone.fixed_draws(DRAWS, 1, SEED):
        predicted = _predicted(backbone, prompts, draw)
        moved += (predicted[with_word] - predicted[without]).square().sum(1)
        said += (predicted[without] - predicted[:1]).square().sum(1)
        whole += predicted[0].square().sum().item()
    if said.mean().item() <= SAYS_NOTHING * whole:
        return [0.0] * len(pairs)
    least = SAYS_LITTLE * said.mean().item()
    return [float(share) for share in moved / said.clamp_min(least)]


def _predicted(backbone: DiffusionBackbone, prompts: Sequence[str], draw: Draw) -> torch.Tensor:
    """Return the untouched backbone's prediction for every prompt, flat, on the CPU."""
    parts = [prompts[start : start + PROMPTS_AT_ONCE] for start in range(0, len(prompts), PROMPTS_AT_ONCE)]
    with backbone.lora.use(None):
        return torch.cat([backbone.predicted_from_noise(part, draw).flatten(1).cpu() for part in parts])


def placed(backbone: DiffusionBackbone, prompts: Sequence[str], word: str, place: Place) -> Word:
    """Measure a word in prompts that do not hold it."""
    return Word(word, Change.of(changes(backbone, [(prompt, place(prompt, word)) for prompt in prompts])))


def harmless(
    backbone: DiffusionBackbone, prompts: Sequence[str], place: Place, words: Sequence[str] = CANDIDATES
) -> Word | None:
    """Return the first word that is harmless to prompts on the mean, put into them by `place`; None where none is."""
    measured = (placed(backbone, prompts, word, place) for word in words)
    return next((found for found in measured if found.change.mean <= HARMLESS), None)
