"""The demo's latent diffusion model and its own 434 pre-training pictures: subjects and styles it has never seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from functools import cache, lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from benchmarks.pictures.measures import OWN, Measures
from benchmarks.pictures.sets import UNRELATED, PictureSet, dusk, from_files
from benchmarks.pictures.sheet import Strips
from benchmarks.records import named
from benchmarks.runs import Kept
from benchmarks.world import Setting, World, parameters
from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.method.backbones.backbone import count
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.settings import Settings
from worker.stages import pool as pools

TRIED = (0.25, 0.5)
LEAN = True  # a run takes minutes: the scores are compared on the small language model
ARMS = ("none", "quarter", "random .5", "influence .25", "influence .5", "oracle .5")
# Drawn are the first few arms whose names are like these; an arm's drawings take a fifth of the time of its run.
PICTURED = ("none", "auto", "random .5", "influence .5", "*captions*", "*own*", "replay*", "distil*", "both*")
MOST_PICTURED = 10
PICTURED_STEPS = (100, 300)  # about where runs publish, and where they end
HORIZON, THINNING = 300, 2
REFERENCES, HELD_OUT, PROBE = 6, 8, 8
RATE, STYLE_RATE = 1e-3, 1.5e-3  # the preset has a style learn half as fast again
SUBJECTS = (
    "cat",
    "vehicle",
    "openmoji-cat",
    "openmoji-clothes",
    "twemoji-vehicle",
    "twemoji-hand",
    "emojione-building",
    "fluent-clock",
    "fluent-woman",
    "fxemoji-moon",
)
STYLES = ("dusk", "fluent", "contrast", "twemoji", "streamline", "fxemoji", "openmoji")
RIGHT = {"cat": "Animals & Nature/animal-mammal", "openmoji-cat": "Animals & Nature/animal-mammal"}


def settings(seeds: Sequence[int], *, quick: bool = False) -> Iterator[Setting]:
    """Yield a setting for every set, subjects and styles by turns, so that a part of them is a fair part."""
    by_turns = [name for pair in zip_longest(SUBJECTS, STYLES) for name in pair if name]
    for seed in seeds:
        for name in by_turns[:1] if quick else by_turns:
            yield Setting("emoji", name, REFERENCES, STYLE_RATE if name in STYLES else RATE, seed)


def world(setting: Setting, folder: Path) -> World:
    """Return the experiment of a setting; encodings of the pool are kept in `folder`."""
    frozen = backbone()
    shown, held_out = pictures_of(setting.set).split(setting.n, HELD_OUT, setting.seed)
    candidates = pools.encode(frozen, pool().candidates, folder / "emoji-pool.safetensors")
    probe = pools.encode(frozen, pool().probe[:PROBE], folder / "emoji-probe.safetensors")
    sources = tuple(candidate.source for candidate in pool().candidates)
    return World(
        setting,
        frozen,
        frozen.encode(shown),
        heldout=frozen.encode(held_out),
        probe=probe,
        pool=candidates,
        sources=sources,
        right=torch.tensor([source == RIGHT.get(setting.set) for source in sources]),
        shuffled=torch.zeros(count(candidates), dtype=torch.bool),
        parameters=parameters(
            setting,
            kind="images",
            preset=pictures_of(setting.set).kind,
            alpha=4.0,
            max_steps=HORIZON,
            surrogate_steps=120,
            sample_ratio=0.5,
            draws_score=8,
            draws_eval=2,
            selected_count=64,
            batch_size=4,
        ),
        thinning=THINNING,
        folder=folder,
    )


@cache
def pictures_of(name: str) -> PictureSet:
    """Return a set of the benchmark by its name."""
    if name != "dusk":
        return from_files(name)
    return dusk([(candidate.source, candidate.item) for candidate in pool().candidates])


def pictures(world: World, kept: Kept) -> list[dict[str, Any]]:
    """Draw some arms at the kept steps, measure that with an independent eye, and keep strips to be looked at."""
    setting = world.setting
    chosen = pictures_of(setting.set)
    shown, held_out = chosen.split(setting.n, HELD_OUT, setting.seed)
    references, truth = ([item["image"] for item in part] for part in (shown, held_out[:OWN]))
    measures = Measures(
        backbone(),
        [str(item["caption"]) for item in held_out[:OWN]],
        UNRELATED,
        references=references,
        held_out=truth,
        style=chosen.kind == "style",
        seed=setting.seed,
    )
    strips = Strips(world.folder, setting.key)
    strips.keep("references", 0, references + truth)
    strips.keep("before training", 0, measures.before.own + measures.before.unrelated)
    rows = []
    for arm in pictured(kept.names):
        for step in PICTURED_STEPS:
            drawn = measures.draw(kept.adapter(arm, step).to(world.backbone.device))
            strips.keep(arm, step, drawn.own + drawn.unrelated)
            values = {name: round(value, 5) for name, value in measures.of(drawn).items()}
            rows.append({**named(world), "arm": arm, "step": step, **values})
    return rows


def pictured(arms: Sequence[str]) -> list[str]:
    """Return the arms whose drawings are measured."""
    found = [arm for like in PICTURED for arm in arms if fnmatch(arm, like)]
    return list(dict.fromkeys(found))[:MOST_PICTURED]


@lru_cache(maxsize=1)
def pool() -> pools.Pool:
    """Return the backbone's own pictures."""
    found = pools.load(_record())
    assert found is not None
    return found


@lru_cache(maxsize=1)
def backbone() -> DiffusionBackbone:
    """Return the demo's model."""
    record = _record()
    assert record.resolution is not None
    return DiffusionBackbone.load(record.path, resolution=record.resolution, target_modules=record.target_modules)


def _record() -> BackboneRecord:
    return Registry.load(Settings()).get("emoji-ldm")
