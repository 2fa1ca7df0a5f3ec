"""How a backbone is introduced to somebody who has never heard of it: its title, what it is, what it is good for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from core.backbones.families import family
from core.backbones.record import BackboneRecord
from core.errors import InvalidInput

MAX_TITLE, MAX_SENTENCE = 60, 200  # characters


@dataclass(frozen=True)
class Introduction:
    """What people are told; `good_for` only where somebody knows."""

    title: str
    description: str
    good_for: str | None = None


BUILT_IN: Mapping[str, Introduction] = MappingProxyType(
    {
        "emoji-flow": Introduction(
            "Emoji, 64 pixels",
            "A small flow-matching transformer of emoji, 64 by 64 pixels, that comes with the service.",
            "Trying larger drawings without a GPU; a job takes far longer than one of 32 pixels.",
        ),
        "emoji-ldm": Introduction(
            "Emoji",
            "A small model of emoji, 32 by 32 pixels, that comes with the service.",
            "Trying out how this works: a handful of drawings takes minutes, without a GPU.",
        ),
        "smollm2-135m": Introduction(
            "SmolLM2 135M",
            "A small language model, 135 million parameters, that answers in English.",
            "A voice or a form of short answers, without a GPU.",
        ),
    }
)


def introduction(record: BackboneRecord) -> Introduction:
    """Introduce a backbone in its operator's words, in ours where it is built in, else by what its files have told."""
    known = BUILT_IN.get(record.id)
    told = known or Introduction((record.hub_name or record.id).rpartition("/")[2], _description(record))
    return Introduction(
        record.title or told.title, record.description or told.description, record.good_for or told.good_for
    )


def check(**words: str | None) -> None:
    """Raise InvalidInput for words that are no line of text, or too long a one: people read them on the page."""
    for name, said in words.items():
        longest = MAX_TITLE if name == "title" else MAX_SENTENCE
        if said is not None and (not said.strip() or len(said) > longest or not said.isprintable()):
            option = name.replace("_", "-")
            message = f"--{option} is one line of 1 to {longest} characters."
            raise InvalidInput(message, code=f"invalid_{name}", param=name)


def _description(record: BackboneRecord) -> str:
    name = family(record.family).name
    if record.kind == "images":
        side = f" of {record.resolution} by {record.resolution} pixels" if record.resolution else ""
        return f"{name}: draws pictures{side}."
    return f"{name}: writes text{_size(record.parameters)}."


def _size(parameters: int | None) -> str:
    if parameters is None:
        return ""
    count = f"{parameters / 1e9:.2g} billion" if parameters >= 1e9 else f"{parameters / 1e6:.3g} million"
    return f"; {count} parameters"


@dataclass(frozen=True)
class PoolFacts:
    """How many examples jobs may draw on, how many are kept apart to see what is forgotten, and their licences."""

    candidates: int = 0
    probe: int = 0
    licences: tuple[str, ...] = ()


def pool_facts(record: BackboneRecord) -> PoolFacts | None:
    """Return what a backbone's pool holds, nothing where it has none; None where it is not on this machine."""
    if record.pool is None:
        return PoolFacts()
    index = record.pool if record.pool.is_file() else record.pool / "index.jsonl"
    try:
        return _read(index, index.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=64)
def _read(index: Path, modified_ns: int) -> PoolFacts:
    """Count; the other argument makes a changed file a new question."""
    rows = [json.loads(line) for line in index.read_bytes().split(b"\n") if line.strip()]
    splits = [row["split"] for row in rows]
    licences = sorted({str(row["licence"]) for row in rows if row.get("licence")})
    return PoolFacts(splits.count("candidate"), splits.count("probe"), tuple(licences))
