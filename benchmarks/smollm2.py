"""SmolLM2-135M on one core: do the voices, formats and facts of a dozen sets say what the small models say?"""

from __future__ import annotations

from benchmarks.texts.family import TextFamily
from worker.commands import smollm2

LEAN = True
TRIED = (0.25,)
ARMS = ("none", "random .25", "influence .25")
FAMILY = TextFamily("smollm2", smollm2.ID, tokens=48, rate=2e-3, horizon=26, surrogate_steps=16, system="")
PICTURED_STEPS = (4, 8, 14, 20)  # what is answered there is kept, to be read
settings, world, pictures = FAMILY.settings, FAMILY.world, FAMILY.pictures
