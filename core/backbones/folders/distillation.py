"""Models that were distilled to few steps: how they are known, how they draw, and what is better trained instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

Config = Mapping[str, object]

NAMED = re.compile(
    r"turbo|lightning|\blcm\b|[-_]lcm|hyper(?=[-_ .]|\d|$|sd)|dmd2|(?<!de-)(?<!de_)(?<!un)distill|schnell",
    re.IGNORECASE,
)
# FLUX.2's that are called by their size alone are distilled; others are klein-base-4B, or flux2Klein_9bBase elsewhere.
KLEIN = re.compile(r"klein[-_. ]?\d+b", re.IGNORECASE)
UNDISTILLED = re.compile(r"klein[-_. ]?(\d+b[-_. ]?)?base(?!d)|(de[-_]|un)distill", re.IGNORECASE)
STEPS = re.compile(r"(?<!\d)([1-9]\d?)[-_ ]?steps?(?![a-z])", re.IGNORECASE)
OPEN = re.compile(r"openflux|flex", re.IGNORECASE)  # children of FLUX.1-schnell that were trained to draw in many again


@dataclass(frozen=True)
class Distilled:
    """A model that draws in few steps: the sentence that warns of it, and how it is drawn with, where that is known."""

    note: str
    drawing: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Kind:
    """How models of one pipeline draw once they are distilled, as their makers say, and what they come from."""

    steps: int
    guidance: float
    base: str


KINDS = {
    "StableDiffusion3Pipeline": _Kind(4, 0.0, "Stable Diffusion 3.5 Large"),
    "FluxPipeline": _Kind(4, 0.0, "FLUX.1-dev"),
    "Flux2Pipeline": _Kind(8, 2.5, "FLUX.2-dev"),
    "Flux2KleinPipeline": _Kind(4, 1.0, "FLUX.2-klein-base"),
    "QwenImagePipeline": _Kind(8, 1.0, "Qwen-Image"),
    "ZImagePipeline": _Kind(8, 0.0, "Z-Image"),
}
# What was made of FLUX.1-dev is still told how much guidance to follow, and has never seen that there is none.
TOLD_GUIDANCE = _Kind(8, 3.5, "FLUX.1-dev")


def distilled(
    name: str, network: Config, index: Config | None = None, scheduler: Config | None = None
) -> Distilled | None:
    """Return how a model draws in few steps, by what it is called or by what its configuration says; else None.

    `network` is that of what is adapted, `index` what model_index.json says.
    """
    index, scheduler, named = index or {}, scheduler or {}, f"{name} {network.get('_name_or_path', '')}"
    if not (_by_name(named) or _told(named, network, index, scheduler)):
        return None
    kind, steps = _kind(network, index), STEPS.search(named)
    base = "the model that it was distilled from" if kind is None else kind.base
    note = (
        "It looks distilled to few steps (turbo, lightning, LCM); training undoes some of that, and an adapter is "
        f"better trained on {base}."
    )
    if kind is None:
        return Distilled(note)
    count = int(steps[1]) if steps is not None else kind.steps
    guided = "without guidance" if kind.guidance <= 1 else f"with a guidance of {kind.guidance:g}"
    drawn = f" It is made to draw in {count} step{'s' * (count > 1)} and {guided}."
    return Distilled(note + drawn, {"sample_steps": count, "guidance": kind.guidance})


def index_for(name: str, index: Config) -> Config:
    """Return a backbone's model_index.json where another transformer, of a file called `name`, takes its own's place.

    FLUX.2 klein's says whether the transformer is distilled, as the file does not.
    """
    if "is_distilled" not in index or not (UNDISTILLED.search(name) or _by_name(name)):
        return index
    return {**index, "is_distilled": UNDISTILLED.search(name) is None}


def _by_name(named: str) -> bool:
    return NAMED.search(named) is not None or (KLEIN.search(named) is not None and not UNDISTILLED.search(named))


def _kind(network: Config, index: Config) -> _Kind | None:
    root = index.get("_class_name")
    return TOLD_GUIDANCE if root == "FluxPipeline" and network.get("guidance_embeds") else KINDS.get(str(root))


def _told(named: str, network: Config, index: Config, scheduler: Config) -> bool:
    """Tell whether the configuration says it: as an LCM's U-Net, FLUX.2 klein and FLUX.1-schnell do."""
    if network.get("time_cond_proj_dim") is not None or index.get("is_distilled"):
        return True
    if index.get("_class_name") != "FluxPipeline" or OPEN.search(named):
        return False
    fixed = not scheduler.get("use_dynamic_shifting") and scheduler.get("shift") == 1
    return not network.get("guidance_embeds") and fixed
