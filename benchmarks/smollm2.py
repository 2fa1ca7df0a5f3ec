"""SmolLM2-135M on two cores: few short runs, which show whether what the small models say holds on a real one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.world import Setting, World, parameters
from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.method.backbones.texts.language import LanguageBackbone
from core.settings import Settings
from worker.stages import pool as pools

TEXTS = Path(__file__).resolve().parents[1] / "demo" / "texts"
LEAN = True
TRIED = (0.25,)
ARMS = ("none", "random .25", "influence .25")
TOKENS, CANDIDATES, HELD_OUT, PROBE = 32, 80, 6, 6


def settings(seeds: Sequence[int], *, quick: bool = False) -> Iterator[Setting]:
    """Yield every setting: the tone of the demo, which is foreign to the pool."""
    for seed in seeds:
        yield Setting("smollm2", "pirate", 8, 1e-3, seed)


def world(setting: Setting, folder: Path) -> World:
    """Return the experiment of a setting; needs the backbone prepared (`albatross backbones prepare smollm2-135m`)."""
    record, backbone = _backbone()
    pool = pools.load(record)
    assert pool is not None
    generator = torch.Generator().manual_seed(3000 + setting.seed)
    own = _texts(setting.set, generator)
    kept = [pool.candidates[place] for place in torch.randperm(len(pool.candidates), generator=generator).tolist()]
    kept = kept[:CANDIDATES]
    return World(
        setting,
        backbone,
        references=backbone.encode(own[: setting.n]),
        heldout=backbone.encode(own[setting.n : setting.n + HELD_OUT]),
        probe=backbone.encode([candidate.item for candidate in pool.probe[:PROBE]]),
        pool=backbone.encode([candidate.item for candidate in kept]),
        sources=tuple(candidate.source for candidate in kept),
        right=torch.zeros(len(kept), dtype=torch.bool),
        shuffled=torch.zeros(len(kept), dtype=torch.bool),
        parameters=parameters(
            setting,
            rank=8,
            alpha=16.0,
            max_steps=24,
            surrogate_steps=16,
            batch_size=2,
            folds=2,
            selected_count=16,
            sample_ratio=0.6,
        ),
        thinning=2,
    )


def _texts(name: str, generator: torch.Generator) -> list[dict[str, Any]]:
    """Return the set's texts in random order."""
    files = (TEXTS / part / f"{name}.jsonl" for part in ("references", "heldout"))
    own = [json.loads(line) for file in files for line in file.read_text().splitlines() if line.strip()]
    return [own[place] for place in torch.randperm(len(own), generator=generator).tolist()]


@lru_cache(maxsize=1)
def _backbone() -> tuple[BackboneRecord, LanguageBackbone]:
    record = Registry.load(Settings()).get("smollm2-135m")
    return record, LanguageBackbone.load(record.path, max_tokens=TOKENS, target_modules=record.target_modules)
