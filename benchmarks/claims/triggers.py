"""What rare words do to prompts of the untouched emoji backbone: in front of the thing, behind it, at the end."""

from __future__ import annotations

import torch

from benchmarks.emoji import backbone
from benchmarks.records import Record
from core.backbones.registry import Registry
from core.method.backbones.images.trigger_words import CANDIDATES
from core.settings import Settings
from worker.commands.trigger import table


@torch.no_grad()
def triggers() -> list[Record]:
    """Return, for every word and place, how far prompts change on average, and the one that changes most."""
    found = table(backbone(), Registry.load(Settings()).get("emoji-ldm"), CANDIDATES)
    return [
        {"word": word, "place": place, "mean": round(change.mean, 5), "most": round(change.worst, 5)}
        for word, places in found.items()
        for place, change in places.items()
    ]
