"""Stage 5: write the published step in every format, load each back, draw samples, and say what came out and why."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import zipfile
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from core.method import export as formats
from core.method.diffusion import DiffusionBackbone
from core.method.lora import Adapter
from worker.folder import write_rows
from worker.protocol import Line, Message
from worker.stages.context import Context, Pace, on_device, read_adapter
from worker.stages.surrogate import read_surrogate

CSV_COLUMNS = (
    "step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy", "cosine_similarity",
    "cs_fluctuation", "learning_rate", "reference_loss", "probe_loss",
)  # fmt: skip
CSV_SOURCES = {"train_loss": "loss", "valid_loss": "heldout_loss"}
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "safetensors")


def export(context: Context) -> Generator[Line, None, None]:
    """Write adapter files, samples, curves, card and the manifest that names what is to be published."""
    outcome = context.read("train", "outcome.json")
    steps = shown_steps(outcome)
    pace = Pace("export", len(steps) + 2)
    with context.folder.writing("export") as folder:
        adapter = kept(context, outcome["published_step"])
        results = _write_formats(context, adapter, folder)
        yield pace.at(1)
        samples: list[dict[str, Any]] = []
        for number, (step, labels) in enumerate(steps.items(), 2):
            samples += draw(context, step, labels, folder)
            yield pace.at(number)
        write_rows(folder / "samples.json", samples)
        _write_csv(context.read("train", "curve.json"), folder / "metrics.csv")
        shutil.copyfile(context.folder.stage("score") / "influence.json", folder / "influence.json")
        summary = summarise(context, outcome)
        (folder / "report.json").write_text(json.dumps(summary, indent=1))
        (folder / "card.json").write_text(json.dumps(card(context, adapter, summary), indent=1, sort_keys=True))
        results += [{"file": "card.json", "format": "card"}, {"file": "influence.json"}, {"file": "report.json"}]
        manifest = {
            "results": [{"file": "metrics.csv"}, *results],
            "checkpoints": checkpoints(context, outcome),
            "outcome": summary,
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    yield pace.at(len(steps) + 2)
    yield Message("export", "Every file was loaded back with its own library and gave the same numbers.")


def kept(context: Context, step: int) -> Adapter:
    """The copy of the adapter that was taken at the step."""
    file = context.folder.stage("train") / "snapshots" / f"step-{step:05d}.safetensors"
    return read_adapter(file, context.p.rank, context.p.alpha)


def shown_steps(outcome: dict[str, Any]) -> dict[int, list[str]]:
    """The steps that samples are drawn at, with their labels: before, those that a rule names, and the last."""
    steps: dict[int, list[str]] = {0: ["before"]}
    for step in outcome["gallery"]:
        steps[step] = sorted(label for label, at in outcome["kept"].items() if at == step)
    return dict(sorted(steps.items()))


def draw(context: Context, step: int, labels: list[str], folder: Path) -> list[dict[str, Any]]:
    """Sample the job's prompts and unrelated ones at a kept step, always from the same seed."""
    p, backbone = context.p, context.backbone
    prompts = [("subject", prompt) for prompt in p.sample_prompts] + [
        ("unrelated", prompt) for prompt in p.unrelated_prompts
    ]
    adapter = on_device(kept(context, step), backbone.device) if step else None
    with backbone.lora.use(adapter):
        answers = backbone.sample([prompt for _, prompt in prompts], seed=p.seed)
    rows = []
    for number, ((role, prompt), answer) in enumerate(zip(prompts, answers, strict=True)):
        row = {"id": f"{step}-{number}", "step": step, "labels": labels, "role": role, "prompt": prompt}
        if isinstance(answer, Image.Image):
            row["image"] = f"sample-{step:05d}-{number}.png"
            answer.save(folder / row["image"])
        else:
            row["text"] = answer
        rows.append(row)
    return rows


def summarise(context: Context, outcome: dict[str, Any]) -> dict[str, Any]:
    """The job's `bat` fields: what was selected, what was published, and why."""
    decided = context.read("score", "decision.json")
    curve = {row["step"]: row for row in context.read("train", "curve.json")}
    evidence = read_surrogate(context).curves.evidence()
    published = outcome["published_step"]
    return {
        "selected": len(decided["selected"]) if decided["gamma"] else 0,
        "pool_size": len(context.pool.candidates) if context.pool else 0,
        "gamma": decided["gamma"], "verdict": decided.get("verdict"), "score_reliability": decided.get("reliability"),
        "selection_reason": decided["reason"], "notes": decided.get("notes", []), "mixing": decided.get("mixing"),
        "published_step": published, "turning_point_step": outcome["turning_point_step"],
        "matched_loss_step": outcome["matched_loss_step"], "last_step": outcome["last_step"],
        "stopped_early": outcome["stopped_early"], "stop_rule": outcome["rule"], "stop_reason": outcome["reason"],
        "confidence": outcome["confidence"], "cs_fluctuation_informative": outcome["informative"],
        "expected_improvement": round(evidence.gain, 4) if evidence else None,
        "expected_improvement_error": round(evidence.error, 4) if evidence else None,
        "reference_change": _change(curve, published, "reference_loss"),
        "forgetting": _change(curve, published, "probe_loss"),
        "proposals": outcome["proposals"],
    }  # fmt: skip


def _change(curve: dict[int, dict[str, Any]], step: int, name: str) -> float | None:
    """How much a loss has changed from step 0 to the evaluation nearest to the step, relative."""
    measured = [at for at, row in curve.items() if name in row]
    if not measured or not curve.get(0, {}).get(name):
        return None
    nearest = min(measured, key=lambda at: abs(at - step))
    return round(curve[nearest][name] / curve[0][name] - 1, 4)


def card(context: Context, adapter: Adapter, summary: dict[str, Any]) -> dict[str, Any]:
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


def checkpoints(context: Context, outcome: dict[str, Any]) -> list[dict[str, Any]]:
    """The kept steps as checkpoints: file inside the job folder, step, labels and what was measured."""
    curve = {row["step"]: row for row in context.read("train", "curve.json")}
    rows = []
    for step, labels in shown_steps(outcome).items():
        if step:
            metrics = {("train_loss" if name == "loss" else name): value for name, value in curve.get(step, {}).items()}
            rows.append(
                {
                    "file": f"train/snapshots/step-{step:05d}.safetensors",
                    "step": step,
                    "labels": labels,
                    "metrics": metrics,
                }
            )
    return rows


def _write_formats(context: Context, adapter: Adapter, folder: Path) -> list[dict[str, Any]]:
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


def _write_csv(curve: list[dict[str, Any]], file: Path) -> None:
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
