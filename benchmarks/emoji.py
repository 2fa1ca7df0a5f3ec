"""The demo's latent diffusion model and its own 434 pre-training pictures: subjects it has never seen, and a style."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.runs import Kept
from benchmarks.world import Setting, World, parameters
from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.method.backbones.backbone import count
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.stopping.picture_evidence import judge_pictures
from core.settings import Settings
from worker.stages import pool as pools

DATA = Path(__file__).resolve().parent / "data"
TRIED = (0.25, 0.5)
LEAN = True  # a run takes minutes: the scores are compared on the small language model
ARMS = ("none", "quarter", "random .5", "influence .25", "influence .5", "oracle .5")
PICTURED = ("none", "random .5", "influence .5")
PICTURED_STEPS = (40, 70, 120)
HELD_OUT, PROBE = 8, 8
RIGHT = {"cat": "Animals & Nature/animal-mammal", "vehicle": "", "dusk": ""}
UNRELATED = ("emoji of pizza", "emoji of red apple", "emoji of smiling face with heart eyes", "emoji of bear face")
SEEN_STYLE = ("Food & Drink/food-fruit", "Animals & Nature/animal-bird", "Food & Drink/food-sweet")


def settings(seeds: Sequence[int], *, quick: bool = False) -> Iterator[Setting]:
    """Yield every setting: two subjects and a style, an eightfold range of learning rates."""
    cells = (("cat", 4, 2.4e-3), ("vehicle", 8, 1e-3), ("dusk", 8, 1e-3), ("vehicle", 16, 3e-4))
    for seed in seeds:
        for name, n, rate in cells[:1] if quick else cells:
            yield Setting("emoji", name, n, rate, seed)


def world(setting: Setting, folder: Path) -> World:
    """Return the experiment of a setting; encodings of the pool are kept in `folder`."""
    record, backbone = _backbone()
    pool = pools.load(record)
    assert pool is not None
    chosen = _shuffled(setting, pool)
    candidates = pools.encode(backbone, pool.candidates, folder / "emoji-pool.safetensors")
    probe = pools.encode(backbone, pool.probe[:PROBE], folder / "emoji-probe.safetensors")
    sources = tuple(candidate.source for candidate in pool.candidates)
    preset = "style" if setting.set == "dusk" else "subject"
    return World(
        setting,
        backbone,
        backbone.encode(chosen[: setting.n]),
        heldout=backbone.encode(chosen[setting.n : setting.n + HELD_OUT]),
        probe=probe,
        pool=candidates,
        sources=sources,
        right=torch.tensor([source == RIGHT[setting.set] for source in sources]),
        shuffled=torch.zeros(count(candidates), dtype=torch.bool),
        parameters=parameters(
            setting,
            kind="images",
            preset=preset,
            alpha=4.0,
            max_steps=120,
            surrogate_steps=120,
            sample_ratio=0.5,
            draws_score=8,
            draws_eval=2,
            selected_count=64,
            batch_size=4,
        ),
    )


def pictures(world: World, kept: Kept) -> list[dict[str, Any]]:
    """Draw the kept steps of three arms and measure them in the backbone's own features."""
    backbone = world.backbone
    assert isinstance(backbone, DiffusionBackbone)
    pool = pools.load(_backbone()[0])
    assert pool is not None
    chosen = _shuffled(world.setting, pool)[: world.setting.n]
    shown, prompts = [item["image"] for item in chosen], [str(item["caption"]) for item in chosen[:4]]
    rows = []
    for arm in PICTURED:
        copies = {step: kept.adapter(arm, step) for step in PICTURED_STEPS}
        judging = judge_pictures(backbone, copies, PICTURED_STEPS, prompts, UNRELATED, shown, seed=world.setting.seed)
        for one in judging:
            if one.step:
                measured = {"similarity": one.similarity, "swallowed": one.swallowed, "drift": one.drift}
                values = {name: round(value, 5) for name, value in measured.items()}
                rows.append({**vars(world.setting), "arm": arm, "step": one.step, **values})
    return rows


def _shuffled(setting: Setting, pool: pools.Pool) -> list[dict[str, Any]]:
    """Return the set's pictures in the setting's order: references first, then the held-out ones."""
    items = _items(setting.set, pool)
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(2000 + setting.seed)).tolist()
    return [items[place] for place in order]


def _items(name: str, pool: pools.Pool) -> list[dict[str, Any]]:
    """Return all pictures of a set with their captions."""
    if name == "dusk":
        known = [candidate for candidate in pool.candidates if candidate.source in SEEN_STYLE]
        return [
            {"image": _dusk(candidate.item["image"]), "caption": f"{candidate.item['caption']} in sks style"}
            for candidate in known
        ]
    rows = [json.loads(line) for line in (DATA / "emoji.jsonl").read_text().splitlines()]
    with zipfile.ZipFile(DATA / "emoji.zip") as archive:
        return [
            {"image": Image.open(io.BytesIO(archive.read(row["file"]))).convert("RGB"), "caption": row["caption"]}
            for row in rows
            if row["set"] == name
        ]


def _dusk(image: Image.Image) -> Image.Image:
    """Return the picture in violet light: channels exchanged, darker, on a dark ground."""
    red, green, blue = image.split()
    turned = Image.merge("RGB", (green, blue, red))
    return Image.blend(turned, Image.new("RGB", turned.size, (70, 30, 110)), 0.4)


@lru_cache(maxsize=1)
def _backbone() -> tuple[BackboneRecord, DiffusionBackbone]:
    record = Registry.load(Settings()).get("emoji-ldm")
    assert record.resolution is not None
    return record, DiffusionBackbone.load(
        record.path, resolution=record.resolution, target_modules=record.target_modules
    )
