"""The card of an adapter: what it was made of, how, and why this step. No caption, text or path is on it."""

from __future__ import annotations

import hashlib
import math
import platform
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.adapters.card import only_known_here
from core.backbones.record import BackboneRecord
from core.method.albat import forecast_error
from core.method.lora.adapter import Adapter
from core.version import VERSION
from worker.protocol import Json
from worker.stages.context import Context
from worker.stages.export.protected import protected
from worker.stages.pool import Pool
from worker.stages.surrogate import read_surrogate

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "safetensors", "gguf")
CURVE = (
    "step",
    "loss",
    "reference_loss",
    "heldout_loss",
    "probe_loss",
    "cosine_similarity",
    "cs_fluctuation",
    "learning_rate",
)
DIAGNOSTICS = "These numbers decide nothing: where backbone data is tried, the trial on held-out references decides."
# prompts may be captions, and sentences belong into the report
UNSAID = {"sample_prompts", "unrelated_prompts", "reasons"}
OUTCOME = (
    "published_step",
    "last_step",
    "turning_point_step",
    "stop_rule",
    "stop_reason",
    "gamma",
    "verdict",
    "selection_reason",
    "score_reliability",
    "confidence",
    "forgetting",
)


def card(context: Context, adapter: Adapter, summary: Json) -> Json:
    """Where the adapter comes from: backbone, data hashes, replayed data with licence, curves, seed, versions."""
    record, p = context.record, context.p
    return {
        "card": 1,
        "backbone": backbone_facts(record),
        "adapter": {
            "sha256": adapter.sha256(),
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "modules": len(adapter.down),
            "target_modules": list(record.target_modules),
            "left_out": list(context.backbone.lora.left_out or ()),
        },
        "outcome": {name: summary[name] for name in OUTCOME},
        "data": _data(context),
        "replayed": _replayed(context, summary),
        "protected": protected(context),
        "probe": summary["probe"],
        "diagnostics": {"note": DIAGNOSTICS, "error_law": error_law(context)},
        "seed": p.seed,
        "parameters": p.model_dump(mode="json", exclude=UNSAID),
        "curves": _curves(context),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions that write an adapter's files."""
    return {"albatross": VERSION, "python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def backbone_facts(record: BackboneRecord) -> Json:
    """Name the backbone as the files do, and warn where nobody else knows it by that."""
    told = {name: getattr(record, name) for name in ("id", "hub_name", "revision", "licence", "family")}
    return told if record.hub_name else told | {"warning": only_known_here(record.id)}


def error_law(context: Context) -> Json | None:
    """Return the numbers of the error law and Prop. 4.2 for what was selected; None with too little of anything.

    Without the law's own verdict: that of the trial is the one that counts.
    """
    scored = context.read("score", "decision.json")
    if "mixing" in scored:  # scored by a version that forecast it there
        found: Json | None = scored["mixing"]
    elif len(scored["selected"]) < 2:
        return None
    else:
        pool, surrogate = context.encoded_pool("candidate"), read_surrogate(context)
        law = forecast_error(context.backbone, surrogate, context.references(), pool, scored["selected"], context.p)
        found = _finite(asdict(law)) if law else None
    return {name: value for name, value in found.items() if name not in ("verdict", "note")} if found else None


def _data(context: Context) -> Json:
    pool = context.pool if context.p.augment and context.p.protect_on != "own" else None
    references = context.folder.references
    return {
        "kind": context.p.kind,
        "references": {"count": _count(references), "sha256": folder_hash(references)},
        "validation": _validation(context.folder.validation),
        "pool": _pool(context, pool) if pool else None,
    }


def _pool(context: Context, pool: Pool) -> Json:
    told: Json = {"sha256": pool.sha256, "candidates": len(pool.candidates)}
    return told | ({"generated": True} if context.p.generates else {})


def _validation(folder: Path) -> Json | None:
    return {"count": _count(folder), "sha256": folder_hash(folder)} if folder.is_dir() else None


def _replayed(context: Context, summary: Json) -> Json:
    rows = context.read("score", "influence.json") if summary["gamma"] else []
    used = [{name: row[name] for name in ("id", "source", "licence")} for row in rows if row["selected"]]
    return {"count": len(used), "licences": dict(Counter(row["licence"] for row in used)), "candidates": used}


def _curves(context: Context) -> Json:
    rows: list[Json] = context.read("train", "curve.json")
    columns = [name for name in CURVE if any(name in row for row in rows)]
    return {"columns": columns, "rows": [[_plain(row.get(name)) for name in columns] for row in rows]}


def _plain(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _finite(value: Any) -> Any:
    """The same without numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None


def _count(folder: Path) -> int:
    """Count the references of a folder: a line each of its index."""
    return sum(1 for line in (folder / "items.jsonl").read_text().split("\n") if line)


def folder_hash(folder: Path) -> str:
    """Return a hash of the names and contents of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
