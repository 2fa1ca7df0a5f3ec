"""The text sets: short chats in a voice, a format or about something invented. No question is in two of them.

Rows come in pairs, and of each pair one is taught and the other held out, as the seed says. In sets of facts the two
ask for the same fact in other words, since nobody can know a fact that was never taught.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from core.disk import ROOT

HERE = ROOT / "benchmarks" / "data" / "texts"
PIRATE = tuple(ROOT / "demo" / "texts" / part / "pirate.jsonl" for part in ("references", "heldout"))
SetKind = Literal["voice", "format", "facts"]
Chat = dict[str, str]  # prompt and completion


@dataclass(frozen=True)
class TextSet:
    """What is to be learned, and where the pool has something like it."""

    name: str
    kind: SetKind
    about: str
    licence: str
    related: tuple[str, ...]  # sources of the demo's pool

    @property
    def preset(self) -> str:
        """Return what a user would choose for it; for facts there is nothing of their own."""
        return "format" if self.kind == "format" else "tone"

    def chats(self) -> list[Chat]:
        """Return all chats in the order of their pairs."""
        return [_chat(row) for file in self._files for row in _rows(file)]

    def parted(self, seed: int) -> tuple[list[Chat], list[Chat]]:
        """Return what is taught and what is held out under a seed, pair by pair in a new order."""
        generator, chats = torch.Generator().manual_seed(3000 + seed), self.chats()
        taught, held = [], []
        for pair in torch.randperm(len(chats) // 2, generator=generator).tolist():
            first = int(torch.randint(2, (), generator=generator))
            taught.append(chats[2 * pair + first])
            held.append(chats[2 * pair + 1 - first])
        return taught, held

    @property
    def _files(self) -> tuple[Path, ...]:
        return PIRATE if self.name == "pirate" else (HERE / f"{self.name}.jsonl",)


@lru_cache(maxsize=1)
def text_sets() -> Mapping[str, TextSet]:
    """Return all sets by their names, those of one kind together."""
    rows = _rows(HERE / "index.jsonl")
    return {
        row["set"]: TextSet(row["set"], row["kind"], row["about"], row["licence"], tuple(row["related"]))
        for row in rows
    }


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def _chat(row: Mapping[str, Any]) -> Chat:
    if "messages" not in row:
        return {"prompt": str(row["prompt"]), "completion": str(row["completion"])}
    asked, answered = row["messages"]
    return {"prompt": asked["content"], "completion": answered["content"]}
