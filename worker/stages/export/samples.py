"""What the adapter draws or writes at its kept steps, always from the same seed: before, right, and too late."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from core.method.backbones.diffusion import DiffusionBackbone
from core.method.stopping.picture_evidence import Pictures, choose, judge_pictures
from core.method.training.final_run import Outcome
from core.references.items import ImageItem
from worker.protocol import Json, Line
from worker.stages.context import Context, ProgressClock
from worker.stages.references import picture_of, read_references


@dataclass
class Gallery:
    """The outcome after the pictures have had their say, and what was sampled."""

    outcome: Outcome
    rows: list[Json] = field(default_factory=list)
    pictures: list[Json] = field(default_factory=list)  # how alike, how swallowed, how far adrift at each step


def sample_steps(
    context: Context, outcome: Outcome, folder: Path, pace: ProgressClock
) -> Generator[Line, None, Gallery]:
    """Sample every kept step into the folder; the pictures may name another step to publish."""
    p = context.p
    if isinstance(context.backbone, DiffusionBackbone) and p.sample_prompts and p.unrelated_prompts:
        return (yield from _draw(context, context.backbone, outcome, folder, pace))
    return (yield from _write(context, outcome, folder, pace))


def _draw(
    context: Context, backbone: DiffusionBackbone, outcome: Outcome, folder: Path, pace: ProgressClock
) -> Generator[Line, None, Gallery]:
    """Draw pictures, measure them in the backbone's own features, and let them choose (stop="auto" only)."""
    p, drawn = context.p, []
    snapshots = {step: context.checkpoint(step) for step in outcome.gallery}
    judging = judge_pictures(
        backbone,
        snapshots,
        outcome.gallery,
        p.sample_prompts,
        p.unrelated_prompts,
        _reference_images(context),
        seed=p.seed,
    )
    for pictures in judging:
        drawn.append(pictures)
        yield pace.at(len(drawn))
    evidence = choose([pictures for pictures in drawn if pictures.step in outcome.picture_steps])
    gallery = Gallery(outcome.favouring(evidence.published_step, evidence.reason))
    for pictures in drawn:
        sampled = [("subject", *pair) for pair in pictures.subject] + [
            ("unrelated", *pair) for pair in pictures.unrelated
        ]
        first = {(role, prompt): image for role, prompt, image in reversed(sampled)}  # further noise was for measuring
        answers = [(role, prompt, first[role, prompt]) for role, prompt in dict.fromkeys(pair[:2] for pair in sampled)]
        gallery.rows += rows(pictures.step, marks(gallery.outcome, pictures.step), answers, folder)
        gallery.pictures.append(_measured(pictures))
    return gallery


def _write(context: Context, outcome: Outcome, folder: Path, pace: ProgressClock) -> Generator[Line, None, Gallery]:
    """Answer the prompts at the steps that have a name."""
    p, backbone, gallery = context.p, context.backbone, Gallery(outcome)
    prompts = [("subject", prompt) for prompt in p.sample_prompts]
    prompts += [("unrelated", prompt) for prompt in p.unrelated_prompts]
    named = sorted({0, *outcome.kept.values()})
    for done, step in enumerate(named, 1):
        adapter = context.checkpoint(step).to(backbone.device) if step else None
        with backbone.lora.use(adapter):
            said: Sequence[Any] = backbone.sample([prompt for _, prompt in prompts], seed=p.seed) if prompts else []
        answers = [(role, prompt, answer) for (role, prompt), answer in zip(prompts, said, strict=True)]
        gallery.rows += rows(step, marks(outcome, step), answers, folder)
        yield pace.at(done)
    return gallery


def marks(outcome: Outcome, step: int) -> list[str]:
    """Return the names that a kept step goes by."""
    return ["before"] if step == 0 else sorted(name for name, at in outcome.kept.items() if at == step)


def rows(step: int, labels: list[str], answers: Sequence[tuple[str, str, Any]], folder: Path) -> list[Json]:
    """Return a row for each answer (role, prompt, picture or text); pictures are written to the folder."""
    result = []
    for number, (role, prompt, answer) in enumerate(answers):
        row: Json = {"id": f"{step}-{number}", "step": step, "labels": labels, "role": role, "prompt": prompt}
        if isinstance(answer, Image.Image):
            row["image"] = f"sample-{step:05d}-{number}.png"
            answer.save(folder / row["image"])
        else:
            row["text"] = answer
        result.append(row)
    return result


def _reference_images(context: Context) -> list[Image.Image]:
    items = read_references(context.folder.references).items
    return [picture_of(item) for item in items if isinstance(item, ImageItem)]


def _measured(pictures: Pictures) -> Json:
    return {
        "step": pictures.step,
        "similarity": round(pictures.similarity, 4),
        "swallowed": round(pictures.swallowed, 4),
        "drift": round(pictures.drift, 4),
    }
