"""What is known of a backbone's pool, the part of its pre-training data that is here, without opening its examples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.backbones.record import BackboneRecord


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
