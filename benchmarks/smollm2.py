"""SmolLM2-135M on one core: do the voices, formats and facts of a dozen sets say what the small models say?"""

from __future__ import annotations

from benchmarks.texts.family import TextFamily
from worker.commands import smollm2

LEAN = True
TRIED = (0.25,)
ARMS = ("none", "random .25", "influence .25")
FAMILY = TextFamily("smollm2", smollm2.ID, tokens=48, rate=2e-3, horizon=28, surrogate_steps=16, system="")
settings, world = FAMILY.settings, FAMILY.world
