"""What the arms protect on: a draw from the pool, samples of the backbone's own, and unrelated captions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.pictures.sets import UNRELATED
from benchmarks.protection.means import ProtectionArm
from benchmarks.world import World
from core.backbones.registry import Registry
from core.method.backbones.backbone import Batch, caption_of, count, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.protection.own import write_candidates
from core.method.protection.protection import NONE, Protection
from core.settings import Settings
from worker.commands.candidates.making import write_generated
from worker.commands.candidates.order import Order
from worker.stages import pool as pools

OWN_IMAGES, OWN_TEXTS, CAPTIONS = 64, 32, 64
GENERATED = 128  # pictures or texts, of which an eighth is left to a probe
REGISTERED = {"emoji": "emoji-ldm", "smollm2": "smollm2-135m"}
DRAWING_STEPS = 20


class Material:
    """Makes the protection of each arm of one experiment; what the backbone draws itself is kept in `folder`."""

    def __init__(self, world: World, selected: tuple[int, ...], folder: Path) -> None:
        self._world, self._folder = world, folder
        self._pool = take(world.pool, torch.tensor(selected))

    def of(self, arm: ProtectionArm) -> Protection:
        """Return what fills the slots of an arm."""
        if arm.means == "none":
            return NONE
        if arm.on in ("captions", "blank"):
            return Protection.by(arm.means, arm.weight, arm.gamma, captions=self._captions(blank=arm.on == "blank"))
        examples = {"pool": lambda: self._pool, "own": self._own, "generated": self._generated}[arm.on]()
        return Protection.by(arm.means, arm.weight, arm.gamma, examples)

    def _captions(self, *, blank: bool) -> Batch:
        backbone, pool = self._world.backbone, self._world.pool
        assert isinstance(backbone, DiffusionBackbone)
        if blank:
            return backbone.nothing()
        places = torch.tensor(_not_judged_by())
        order = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(self._world.setting.seed))]
        return {name: pool[name][order[:CAPTIONS]] for name in caption_of(pool)}

    def _own(self) -> Batch:
        file = self._folder / f"{self._world.setting.family}-own.safetensors"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            made = self._pictures() if isinstance(self._world.backbone, DiffusionBackbone) else self._texts()
            save_file({name: tensor.contiguous() for name, tensor in made.items()}, file)
        return load_file(file)

    def _generated(self) -> Batch:
        """Return a draw, as large as that of the pool, from what the backbone makes of plain prompts."""
        world = self._world
        record = Registry.load(Settings()).get(REGISTERED[world.setting.family]).model_copy(update={"pool": None})
        folder = self._folder / f"{world.setting.family}-generated"
        if not (folder / "index.jsonl").is_file():
            write_generated(Order(record, GENERATED, seed=1), folder)
        made = pools.load(record.model_copy(update={"pool": folder}))
        assert made is not None
        order = torch.randperm(len(made.candidates), generator=torch.Generator().manual_seed(world.setting.seed))
        chosen = [made.candidates[place] for place in order[: count(self._pool)].tolist()]
        return world.backbone.encode([candidate.item for candidate in chosen])

    def _pictures(self) -> Batch:
        """Return pictures that the untouched backbone draws for captions that it has learned."""
        from benchmarks.emoji import pool

        backbone: Any = self._world.backbone
        places = _not_judged_by()
        order = torch.randperm(len(places), generator=torch.Generator().manual_seed(0)).tolist()
        prompts = [str(pool().candidates[places[at]].item["caption"]) for at in order[:OWN_IMAGES]]
        drawn = backbone.sample(prompts, seed=1, steps=DRAWING_STEPS)
        found: Batch = backbone.encode(
            [{"image": image, "caption": caption} for image, caption in zip(drawn, prompts, strict=True)]
        )
        return found

    def _texts(self) -> Batch:
        """Return texts that the untouched backbone goes on with from short openings."""
        backbone = self._world.backbone
        assert isinstance(backbone, LanguageBackbone)
        rounds = (write_candidates(backbone, number, seed=1) for number in itertools.count())
        texts = itertools.islice(itertools.chain.from_iterable(rounds), OWN_TEXTS)
        return backbone.encode([{"text": text} for text in texts])


def _not_judged_by() -> list[int]:
    """Return the candidates whose captions are none of those that swallowing is measured by."""
    from benchmarks.emoji import pool

    captions = [str(candidate.item["caption"]) for candidate in pool().candidates]
    return [place for place, caption in enumerate(captions) if caption not in UNRELATED]
