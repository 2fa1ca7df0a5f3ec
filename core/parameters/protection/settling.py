"""What "auto" means for protection: as the preset has it, as far as the backbone and the request allow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.backbones.families import Kind
from core.backbones.record import BackboneRecord
from core.parameters.presets import Gamma, Preset, Protect
from core.parameters.protection.means import GENERATE, Ground, Means
from core.parameters.request import Auto, BatRequest
from core.parameters.schedule import GENERATED

PUBLISHED = Protect(means="replay", weight=1.0, on="pool", why="so the method was published")
MADE = "it is protected on samples that it makes itself"
TRIED = "by a trial on held-out references"
MAKING: Mapping[Kind, str] = {
    "images": f"draws {GENERATED} pictures of plain prompts, once for all jobs of this size",
    "texts": f"writes {GENERATED} texts from plain openings and questions, once for all jobs of this size",
}


@dataclass(frozen=True)
class Protecting:
    """Settles protection from a request, a preset and a backbone; `reasons` has a sentence for each name."""

    request: BatRequest
    preset: Preset
    backbone: BackboneRecord

    @property
    def named(self) -> str:
        """The preset, with its version."""
        return self.preset.named

    @property
    def usual(self) -> Protect:
        """What the preset says of how to protect; where it protects nothing, and a request does, as published."""
        told = self.preset.protect
        return PUBLISHED if told is None or told.means == "none" else told

    @property
    def start(self) -> float | None:
        """Where the preset lets an automatic gamma start."""
        return self.preset.gamma.start if self.preset.gamma else None

    @property
    def gamma(self) -> float | Auto:
        """What a gamma becomes that the request leaves to us: chosen by a trial, unless the preset sets it."""
        if self.means == "none":
            return 0.0
        return self._untried.start if self._untried else "auto"

    @property
    def _untried(self) -> Gamma | None:
        """The preset's share where it is not to be tried."""
        told = self.preset.gamma
        return told if told and not told.tried and told.start > 0 else None

    @property
    def refused(self) -> bool:
        """Whether the request says that nothing is protected."""
        asked = self.request
        return asked.augment is False or asked.protect == "none" or asked.gamma == 0

    @property
    def unwanted(self) -> bool:
        """Whether the preset protects nothing, and the request says nothing of protection."""
        asked = self.request
        said = {asked.augment, asked.protect, asked.protect_weight, asked.protect_on, asked.gamma}
        quiet = said == {"auto"} and not self.generates
        told = self.preset.protect
        return quiet and (self.start == 0 or (told is not None and told.means == "none"))

    @property
    def generates(self) -> bool:
        """Whether the request asks for a pool that the backbone makes."""
        return self.request.pool == GENERATE

    @property
    def means(self) -> Means:
        """By what means."""
        if self.refused or self.unwanted:
            return "none"
        if self.request.protect != "auto":
            return self.request.protect
        return self.usual.means if self.on == "pool" or self.on == self.usual.on else "distil"

    @property
    def weight(self) -> float:
        """How much an example that protects counts beside one that teaches."""
        if self.request.protect_weight != "auto":
            return self.request.protect_weight
        return self.usual.weight if self.means != "none" else 1.0

    @property
    def on(self) -> Ground:
        """On what; of no meaning where nothing is protected."""
        if self.request.protect_on != "auto":
            return self.request.protect_on
        if self.generates:
            return "pool"
        if self.usual.on == "own" or (self.usual.on == "captions" and self.request.protect in ("auto", "distil")):
            return self.usual.on
        return "own" if self.backbone.pool is None and not (self.refused or self.unwanted) else "pool"

    @property
    def pool(self) -> str | None:
        """From which pool is chosen: the backbone's, or one that it makes; None where nothing is."""
        if self.means == "none" or self.on != "pool":
            return None
        return GENERATE if self.generates else self.backbone.id

    @property
    def why_pool(self) -> str:
        """Why that pool."""
        if self.generates:
            return f"It was asked for: {self.backbone.id} {MAKING[self.backbone.kind]}."
        return "The pool that belongs to the backbone." if self.pool else "No pool is used."

    def reasons(self) -> dict[str, str]:
        """Return why of everything that could be left to the service, whether or not it was."""
        if self.means == "none":
            why = self._why_none()
            left = "Nothing is protected."
            mixed = "Without backbone data there is nothing to mix in."
            return {"augment": why, "protect": why, "protect_weight": left, "protect_on": left, "gamma": mixed}
        return {
            "augment": "What the backbone knows is protected, to limit forgetting.",
            "protect": self._why_means(),
            "protect_weight": self._why_weight(),
            "protect_on": self._why_on(),
            "gamma": self._why_gamma(),
        }

    def _why_none(self) -> str:
        if self.unwanted:
            told = self.preset.gamma if self.start == 0 else self.preset.protect
            return f"{self._upper()} protects nothing: {told.why if told else ''}."
        if self.request.augment is False:
            return "augment is off, so nothing is protected."
        return "protect is none." if self.request.protect == "none" else "gamma is 0."

    def _why_means(self) -> str:
        means, told = self.means, self.usual
        if means == told.means and (self.on == "pool" or self.on == told.on):
            return f"{means} is {self._whose()}{self._because(told)}."
        if self.on == "captions":
            return "Unrelated captions bring no data to replay, so the distance to the frozen backbone is kept small."
        return "On samples of its own the distance to the frozen backbone is kept small."

    def _why_weight(self) -> str:
        beside = "" if self.means == self.usual.means else f", for {self.usual.means}"
        return f"{self.usual.weight:g} is {self._whose()}{beside}."

    def _why_on(self) -> str:
        if self.generates:
            return f"The pool that {self.backbone.id} makes itself was asked for."
        if self.on == "own" and self.usual.on != "own":
            return f"{self.backbone.id} has no candidate pool, so {MADE}."
        if self.on == "pool" and self.usual.on != "pool":
            return f"{self.request.protect} needs data, and {self.backbone.id} has a candidate pool."
        return f"{self.on} is {self._whose()}."

    def _why_gamma(self) -> str:
        if self._untried:
            return f"{self._untried.start:g} is set by {self.named}, without a trial: {self._untried.why}."
        scored = self.on == "pool" and self.request.score != "random"
        why = f"It is chosen after scoring, {TRIED}." if scored else f"It is chosen {TRIED}."
        if self.start and self.preset.gamma:
            why += f" It starts at {self.start:g}: {self.preset.gamma.why}."
        return why

    def _whose(self) -> str:
        return "how the method was published" if self.usual is PUBLISHED else f"set by {self.named}"

    @staticmethod
    def _because(told: Protect) -> str:
        if told is PUBLISHED:
            return ""
        return f": {told.why}" if told.measured else f": {told.why}; not measured"

    def _upper(self) -> str:
        return self.named[0].upper() + self.named[1:]
