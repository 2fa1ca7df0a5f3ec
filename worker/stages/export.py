"""Stage 6: write the published step in every format, load each back, draw samples, and say what came out and why."""

from __future__ import annotations

import csv
import hashlib
import shutil
import zipfile
from collections.abc import Generator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from core.method import export as formats
from core.method.diffusion import DiffusionBackbone
from core.method.finalrun import Outcome
from core.method.lora import Adapter
from core.method.window import Window
from worker.folder import write_json, write_rows
from worker.protocol import Json, Line, Message
from worker.stages.context import Context, Pace, checkpoint_file
from worker.stages.mixing import followed_curves
from worker.stages.reasons import reasons
from worker.stages.samples import marks, sample_steps

CSV_COLUMNS = (
    "step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy", "cosine_similarity",
    "cs_fluctuation", "learning_rate", "reference_loss", "probe_loss",
)  # fmt: skip
CSV_SOURCES = {"train_loss": "loss", "valid_loss": "heldout_loss"}
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "safetensors")


def export(context: Context) -> Generator[Line, None, None]:
    """Write samples, adapter files, curves, card and the manifest that names what is to be published."""
    outcome = read_outcome(context)
    pace = Pace("export", len(outcome.gallery) + 2)
    yield pace.at(0)
    with context.folder.writing("export") as folder:
        gallery = yield from sample_steps(context, outcome, folder, pace)
        write_rows(folder / "samples.json", gallery.rows)
        outcome = gallery.outcome
        adapter = context.checkpoint(outcome.published_step)
        results = _write_formats(context, adapter, folder)
        summary = summarise(context, outcome) | {"pictures": gallery.pictures}
        _write_papers(context, adapter, summary, folder)
        results += [{"file": "card.json", "format": "card"}, {"file": "influence.json"}, {"file": "report.json"}]
        manifest = {
            "results": [{"file": "metrics.csv"}, *results],
            "checkpoints": checkpoints(context, outcome),
            "outcome": summary,
        }
        write_json(folder / "manifest.json", manifest)
    yield pace.at(pace.total)
    yield Message("export", outcome.reason)
    yield Message("export", "Every file was loaded back with its own library and gave the same numbers.")


def read_outcome(context: Context) -> Outcome:
    """Read what training came to."""
    stored = context.read("train", "outcome.json")
    return Outcome(**stored | {"window": Window(**stored["window"]), "gallery": tuple(stored["gallery"])})


def _write_papers(context: Context, adapter: Adapter, summary: Json, folder: Path) -> None:
    """Write the curves, the influence scores, the report and the card."""
    _write_csv(context.read("train", "curve.json"), folder / "metrics.csv")
    shutil.copyfile(context.folder.stage("score") / "influence.json", folder / "influence.json")
    write_json(folder / "report.json", summary)
    write_json(folder / "card.json", card(context, adapter, summary))


def summarise(context: Context, outcome: Outcome) -> Json:
    """Return the job's `bat` fields: what was selected, what is published, and why."""
    scored, mixture = context.read("score", "decision.json"), context.read("trial", "mixture.json")
    evidence, gamma = followed_curves(context).evidence(), mixture["gamma"]
    return {
        "selected": len(scored["selected"]) if gamma else 0,
        "pool_size": len(context.pool.candidates) if context.pool and context.p.augment else 0,
        "gamma": gamma, "verdict": mixture["verdict"], "score_reliability": scored.get("reliability"),
        "selection_reason": mixture["reason"], "notes": scored.get("notes", []), "mixing": scored.get("mixing"),
        "trial": mixture["trial"], "references": context.read("score", "references.json"),
        "reasons": reasons(scored, mixture, outcome, evidence),
        "published_step": outcome.published_step, "turning_point_step": outcome.turning_point_step,
        "matched_loss_step": outcome.matched_loss_step, "last_step": outcome.last_step,
        "stopped_early": outcome.stopped_early, "stop_rule": outcome.rule, "stop_reason": outcome.reason,
        "confidence": outcome.confidence, "cs_fluctuation_informative": outcome.informative,
        "cs_fluctuation_peak_to_noise": outcome.peak_to_noise,
        "window": asdict(outcome.window), "proposals": outcome.proposals,
        "expected_improvement": round(evidence.gain, 4) if evidence else None,
        "expected_improvement_error": round(evidence.standard_error, 4) if evidence else None,
        "evidence": evidence.sentence() if evidence else None,
        "reference_change": _change(context, outcome.published_step, "reference_loss"),
        "heldout_change": _change(context, outcome.published_step, "heldout_loss"),
        "forgetting": _change(context, outcome.published_step, "probe_loss"),
        "trained_tokens": _trained_tokens(context, outcome),
    }  # fmt: skip


def _trained_tokens(context: Context, outcome: Outcome) -> int | None:
    """Return how many tokens of references and replay went through training, on average; None for images."""
    references = context.references()
    if "attention_mask" not in references:
        return None
    each = float(references["attention_mask"].sum(1).float().mean())
    return round(each * context.p.batch_size * outcome.last_step)


def _change(context: Context, step: int, name: str) -> float | None:
    """Return how much a loss has changed from step 0 to the evaluation nearest to the step, relative."""
    curve = {row["step"]: row[name] for row in context.read("train", "curve.json") if name in row}
    if not curve.get(0):
        return None
    return round(curve[min(curve, key=lambda at: abs(at - step))] / curve[0] - 1, 4)


def card(context: Context, adapter: Adapter, summary: Json) -> Json:
    """Where the adapter comes from: backbone, data hashes, replayed data with licence, seed, versions."""
    used = [row for row in context.read("score", "influence.json") if row["selected"]] if summary["gamma"] else []
    return {
        "backbone": {"id": context.record.id, "revision": context.record.revision, "licence": context.record.licence},
        "adapter_sha256": adapter.sha256(),
        "references_sha256": _folder_hash(context.folder.references),
        "replayed": [{"id": row["id"], "source": row["source"], "licence": row["licence"]} for row in used],
        "parameters": context.p.model_dump(mode="json"),
        "outcome": {
            name: summary[name] for name in ("published_step", "stop_rule", "stop_reason", "gamma", "confidence")
        },
        "versions": {name: version(name) for name in LIBRARIES},
    }


def checkpoints(context: Context, outcome: Outcome) -> list[Json]:
    """Return the kept steps as checkpoints: file inside the job folder, step, names and what was measured."""
    curve = {row["step"]: row for row in context.read("train", "curve.json")}
    rows = []
    for step in outcome.gallery:
        metrics = {("train_loss" if name == "loss" else name): value for name, value in curve.get(step, {}).items()}
        file = f"train/{checkpoint_file(step)}"
        rows.append({"file": file, "step": step, "labels": marks(outcome, step), "metrics": metrics})
    return rows


def _write_formats(context: Context, adapter: Adapter, folder: Path) -> list[Json]:
    backbone, name = context.backbone, context.record.id
    references = context.references()
    sample = backbone.fixed_draws(1, len(next(iter(references.values()))), context.p.seed)[0]
    formats.write_peft(backbone, adapter, folder / "peft", name)
    formats.verify_peft(backbone, adapter, folder / "peft", references, sample)
    _zip(folder / "peft", folder / "adapter-peft.zip")
    results = [{"file": "adapter-peft.zip", "format": "peft"}]
    if isinstance(backbone, DiffusionBackbone):
        formats.write_diffusers(backbone, adapter, folder, name)
        formats.verify_diffusers(backbone, adapter, folder, references, sample)
        results.append({"file": formats.DIFFUSERS_FILE, "format": "diffusers"})
    shutil.rmtree(folder / "peft")
    return results


def _zip(source: Path, target: Path) -> None:
    """Pack a folder so that equal folders give equal archives."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(source.iterdir()):
            info = zipfile.ZipInfo(path.name, date_time=(2020, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes())


def _write_csv(curve: list[Json], file: Path) -> None:
    with file.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(CSV_COLUMNS)
        for row in curve:
            writer.writerow([row.get(CSV_SOURCES.get(name, name), "") for name in CSV_COLUMNS])


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
