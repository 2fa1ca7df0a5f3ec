"""Stage 6: write the published step in every format, load each back, draw samples, and say what came out and why."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from core.adapters import card as cards
from core.jobs.event_codes import EventCode
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.lora.adapter import Adapter
from core.method.stopping.evidence import Evidence
from core.method.stopping.rule import as_proposal
from core.method.stopping.window import Window
from core.method.training.final_run import Outcome
from worker.job_folder import checkpoint_file, write_json, write_rows
from worker.protocol import Json, Line, Message
from worker.stages.context import Context, ProgressClock
from worker.stages.export import answers, chosen, forgetting, pictures
from worker.stages.export.card import card
from worker.stages.export.explanations import reasons
from worker.stages.export.formats import Made, wanted, write_formats
from worker.stages.export.live import known_answers
from worker.stages.export.samples import Gallery, cover_of, marks
from worker.stages.export.serving import MODELFILE, modelfile
from worker.stages.train import measured
from worker.stages.trial import followed_curves, settled

TOLD_ROUNDING = 0.01  # of the adapter's effect: what half precision takes from merged weights is told from there on
CSV_COLUMNS = (
    "step",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "cosine_similarity",
    "cs_fluctuation",
    "learning_rate",
    "reference_loss",
    "probe_loss",
    "cs_step",
)
CHANGES = {"reference_change": "reference_loss", "heldout_change": "heldout_loss", "forgetting": "probe_loss"}
CSV_SOURCES = {"train_loss": "loss", "valid_loss": "heldout_loss"}


@dataclass(frozen=True)
class Told:
    """The adapter to publish, and what is said of it: the job's `bat` fields, the card, and the kept steps."""

    adapter: Adapter
    summary: Json
    card: Json
    checkpoints: list[Json]


def export(context: Context) -> Generator[Line, None, None]:
    """Write samples, adapter files, curves, card and the manifest that names what is to be published."""
    outcome, forms = read_outcome(context), wanted(context)
    step = chosen.step(context)
    pace = ProgressClock("export", (len(outcome.gallery) if step is None else 0) + len(forms) + 2)
    if step is not None:
        chosen.check(context)
        _ = context.backbone  # loaded before this stage is told of: that takes long, in silence
    yield pace.at(0)
    with context.folder.writing("export") as folder:
        if step is None:
            told = yield from _judged(context, outcome, folder, pace)
        else:
            told = _taken_over(context, chosen.outcome(context, outcome, step), folder)
        begun = pace.total - len(forms) - 1
        made = yield from write_formats(context, told.adapter, told.card, folder, pace, begun)
        formats = {"formats": [row["format"] for row in made.results], "formats_left_out": made.left_out}
        summary = told.summary | formats | {"usage": made.usage}
        _write_papers(context, told.card, summary, folder)
        if "gguf" in summary["formats"]:
            (folder / MODELFILE).write_text(modelfile(context.record))
        _write_manifest(told.checkpoints, made, summary, folder)
    yield pace.at(pace.total)
    data = {"step": summary["published_step"]}
    yield Message("export", summary["stop_reason"], data=data, code=EventCode.STEP_CHOSEN)
    yield verified(made)


def _judged(context: Context, outcome: Outcome, folder: Path, pace: ProgressClock) -> Generator[Line, None, Told]:
    """Sample every kept step, and say what came out of the job."""
    gallery = yield from _sampled(context, outcome, folder, pace)
    write_rows(folder / "samples.json", gallery.rows)
    outcome = gallery.outcome
    adapter = context.checkpoint(outcome.published_step)
    summary = summarise(context, outcome)
    summary |= {"pictures": gallery.pictures, "answers": gallery.answers}
    summary |= _covered(gallery.rows, outcome.published_step, folder)
    summary["reasons"] |= forgetting.reasons(summary, context.read("train", "curve.json")) | gallery.reasons
    return Told(adapter, summary, card(context, adapter, summary), checkpoints(context, outcome))


def _taken_over(context: Context, outcome: Outcome, folder: Path) -> Told:
    """Say of a step that its owner chose what the job has said that has kept it."""
    rows = chosen.write_samples(context, outcome, folder)
    adapter = context.checkpoint(outcome.published_step)
    summary = chosen.summary(context, outcome, changes(context, outcome.published_step))
    summary |= _covered(rows, outcome.published_step, folder)
    [kept] = checkpoints(context, outcome)
    shutil.copyfile(context.folder.path / kept["file"], folder / Path(kept["file"]).name)
    kept["file"] = f"export/{Path(kept['file']).name}"
    return Told(adapter, summary, chosen.card(context, adapter, summary), [kept])


def _covered(samples: Sequence[Json], step: int, folder: Path) -> Json:
    picture = cover_of(samples, step, folder)
    return {"cover": picture} if picture else {}


def _sampled(context: Context, outcome: Outcome, folder: Path, pace: ProgressClock) -> Generator[Line, None, Gallery]:
    """Sample every kept step into the folder; the samples may name another step to publish."""
    if isinstance(context.backbone, DiffusionBackbone):
        return (yield from pictures.draw(context, context.backbone, outcome, folder, pace))
    return (yield from answers.write(context, context.backbone, outcome, folder, pace, known_answers(context.folder)))


def verified(made: Made) -> Message:
    """Say that every file works; the data are errors relative to what the adapter does."""
    names = ", ".join(made.errors)
    errors = {form: float(f"{error:.2g}") for form, error in made.errors.items()}
    text = f"Every file was loaded back and gave the same numbers but for rounding: {names}."
    if errors.get("merged", 0.0) >= TOLD_ROUNDING:
        text += f" Rounding the merged weights moved their outputs by {errors['merged']:.0%} of what the adapter does."
    return Message("export", text, data={"relative_errors": errors}, code=EventCode.VERIFIED)


def read_outcome(context: Context) -> Outcome:
    """Read what training came to."""
    stored = context.read("train", "outcome.json")
    tuples = {name: tuple(stored.get(name, ())) for name in ("gallery", "valleys")}
    return Outcome(**stored | {"window": Window(**stored["window"])} | tuples)


def _write_papers(context: Context, provenance: Json, summary: Json, folder: Path) -> None:
    """Write the curves, the influence scores, the report and the card."""
    _write_csv(context.read("train", "curve.json"), folder / "metrics.csv")
    shutil.copyfile(context.folder.stage("score") / "influence.json", folder / "influence.json")
    write_json(folder / "report.json", {name: value for name, value in summary.items() if name != "cover"})
    (folder / cards.CARD_FILE).write_bytes(cards.content(provenance))


def _write_manifest(kept: list[Json], made: Made, summary: Json, folder: Path) -> None:
    papers = [{"file": cards.CARD_FILE, "format": "card"}, {"file": "influence.json"}, {"file": "report.json"}]
    if (folder / MODELFILE).is_file():
        papers.append({"file": MODELFILE})
    manifest = {"results": [{"file": "metrics.csv"}, *made.results, *papers], "checkpoints": kept, "outcome": summary}
    write_json(folder / "manifest.json", manifest)


def summarise(context: Context, outcome: Outcome) -> Json:
    """Return the job's `bat` fields: what was selected, what is published, and why."""
    scored, mixture = context.read("score", "decision.json"), context.read("trial", "mixture.json")
    evidence = followed_curves(context).evidence()
    return settled(context) | {
        "references": context.read("score", "references.json"),
        "reasons": reasons(scored, mixture, outcome, evidence),
        "published_step": outcome.published_step,
        "turning_point_step": outcome.turning_point_step,
        "valleys": list(outcome.valleys),
        "matched_loss_step": outcome.matched_loss_step,
        "last_step": outcome.last_step,
        "stopped_early": outcome.stopped_early,
        "stop_rule": outcome.rule,
        "stop_reason": outcome.reason,
        "confidence": outcome.confidence,
        "cs_fluctuation_informative": outcome.informative,
        "cs_fluctuation_ended_run": outcome.ended_by_turning,
        "cs_fluctuation_peak_to_noise": outcome.peak_to_noise,
        "window": asdict(outcome.window),
        "proposals": {name: (step, as_proposal(why)) for name, (step, why) in outcome.proposals.items()},
        "expected_improvement": round(evidence.gain, 4) if evidence else None,
        "expected_improvement_interval": _ends(evidence),
        "evidence": evidence.sentence() if evidence else None,
        "probe": forgetting.probe(context),
        "trained_tokens": _trained_tokens(context, outcome),
        **changes(context, outcome.published_step),
    }


def changes(context: Context, step: int) -> Json:
    """Return how much the losses have changed since before training, at a step."""
    return {name: _change(context, step, loss) for name, loss in CHANGES.items()}


def _ends(evidence: Evidence | None) -> list[float] | None:
    """Return the ends of the forecast's 90 % interval; None where one reference alone gives none."""
    if evidence is None or not math.isfinite(evidence.interval[0]):
        return None
    return [round(end, 4) for end in evidence.interval]


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
    return round(curve[forgetting.nearest(list(curve), step)] / curve[0] - 1, 4)


def checkpoints(context: Context, outcome: Outcome) -> list[Json]:
    """Return the kept steps as checkpoints: file inside the job folder, step, names and what was measured."""
    curve = {row["step"]: row for row in context.read("train", "curve.json")}
    rows = []
    for step in outcome.gallery:
        file, metrics = f"train/{checkpoint_file(step)}", measured(curve.get(step, {}))
        rows.append({"file": file, "step": step, "labels": marks(outcome, step), "metrics": metrics})
    return rows


def _write_csv(curve: list[Json], file: Path) -> None:
    with file.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(CSV_COLUMNS)
        for row in curve:
            writer.writerow([row.get(CSV_SOURCES.get(name, name), "") for name in CSV_COLUMNS])
