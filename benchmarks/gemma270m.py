"""Gemma 3 270M on one core: the same sets on a model of another house. Of this bench only: its terms are Google's."""

from __future__ import annotations

from benchmarks import gemma3
from benchmarks.texts.family import TextFamily

LEAN = True
TRIED = (0.25,)
ARMS = ("none", "random .25", "influence .25")
FAMILY = TextFamily("gemma270m", gemma3.ID, tokens=40, rate=2e-3, horizon=26, surrogate_steps=16)
PICTURED_STEPS = (4, 8, 14, 20)  # what is answered there is kept, to be read
settings, world, pictures = FAMILY.settings, FAMILY.world, FAMILY.pictures
