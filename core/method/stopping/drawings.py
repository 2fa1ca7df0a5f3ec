"""The pictures that a kept step is judged by: which prompts from which noise, and which of them are drawn first.

Those that are drawn first, in one pass, show different things. They may be drawn as soon as a step is kept, and taken
over when it is judged: the passes are the same, so the pictures are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Protocol

from PIL import Image

from core.method.backbones.backbone import Backbone
from core.method.lora.adapter import Adapter
from core.parameters.schedule import DRAWN_AT_ONCE, PICTURES, UNRELATED_PICTURES

UNRELATED_SEED = 1000  # apart from the subject's seeds
WATCHED = 3  # prompts that are shown while a job trains, at most: what is learned, something unrelated, and so on


class Drawer(Backbone, Protocol):
    """A backbone that draws."""

    def sample(self, prompts: Sequence[str], *, seed: int | Sequence[int]) -> list[Image.Image]:
        """Return one image for every prompt, each from its own seed; the same one gives the same starting noise."""


@dataclass(frozen=True)
class Drawing:
    """One picture: the prompt at a place of its list, which is that of what was learned or that of unrelated ones."""

    unrelated: bool
    place: int
    prompt: str
    seed: int
    number: int | None  # among the prompts that are shown; None for another picture of a prompt that is shown already


def drawings(prompts: Sequence[str], unrelated: Sequence[str], seed: int) -> list[Drawing]:
    """Return every picture of a step; both lists in turns, until each prompt has been drawn once."""
    asked = _repeated(prompts, PICTURES), _repeated(unrelated, UNRELATED_PICTURES)
    shown = {name: number for number, name in enumerate(dict.fromkeys([*_named(prompts, 0), *_named(unrelated, 1)]))}
    lists = [
        [
            Drawing(bool(other), place, prompt, seed + place + other * UNRELATED_SEED, shown.pop((other, prompt), None))
            for place, prompt in enumerate(some)
        ]
        for other, some in enumerate(asked)
    ]
    return sorted(filter(None, chain(*zip_longest(*lists))), key=lambda one: one.number is None)


def watched(asked: Sequence[Drawing]) -> list[Drawing]:
    """Return those that are drawn first: of these, as many as are shown while a job trains have a number."""
    return list(asked[:DRAWN_AT_ONCE])


def drawn(
    backbone: Drawer, adapter: Adapter | None, asked: Sequence[Drawing], known: Sequence[Image.Image] = ()
) -> list[Image.Image]:
    """Return the pictures of a step; `known` are its first ones, drawn before in a pass of their own."""
    rest = asked[len(known) :]
    with backbone.lora.use(adapter):
        made = backbone.sample([one.prompt for one in rest], seed=[one.seed for one in rest]) if rest else []
    return [*known, *made]


def _named(prompts: Sequence[str], other: int) -> list[tuple[int, str]]:
    return [(other, prompt) for prompt in prompts]


def _repeated(prompts: Sequence[str], pictures: int) -> list[str]:
    return [*prompts] * max(1, -(-pictures // max(1, len(prompts))))
