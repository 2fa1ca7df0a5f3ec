"""What the adapter draws at its kept steps, always from the same seed, and which of them the pictures favour."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from PIL import Image

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.stopping.picture_evidence import Pictures, choose, judge_pictures
from core.method.training.final_run import Outcome
from core.parameters.schedule import STYLES
from core.references.items import ImageItem
from worker.protocol import Json, Line
from worker.stages.context import Context, ProgressClock
from worker.stages.export.live import known_pictures
from worker.stages.export.samples import Gallery, marks, rows
from worker.stages.references import picture_of, read_references


def draw(
    context: Context, backbone: DiffusionBackbone, outcome: Outcome, folder: Path, pace: ProgressClock
) -> Generator[Line, None, Gallery]:
    """Draw pictures, measure them in the backbone's own features, and let them choose (stop="auto" only)."""
    p, style = context.p, context.p.learns in STYLES
    if not p.sample_prompts:
        return Gallery(outcome)
    judging = judge_pictures(
        backbone,
        {step: context.checkpoint(step) for step in outcome.gallery},
        outcome.gallery,
        p.sample_prompts,
        p.unrelated_prompts,
        _reference_images(context),
        seed=p.seed,
        style=style,
        known=known_pictures(context.folder),
    )
    drawn: list[Pictures] = []
    for pictures in judging:
        drawn.append(pictures)
        yield pace.at(len(drawn))
    beside = not p.style_always and bool(p.unrelated_prompts)
    evidence = choose(drawn, outcome.published_step, style=style, beside=beside)
    gallery = Gallery(outcome.favouring(evidence.published_step, evidence.reason, "pictures"))
    for pictures in drawn:
        gallery.rows += rows(pictures.step, marks(gallery.outcome, pictures.step), _shown(pictures), folder)
        gallery.pictures.append(_measured(pictures))
    return gallery


def _shown(pictures: Pictures) -> Sequence[tuple[str, str, Image.Image]]:
    """Return one picture of each prompt with its role; further noise was for measuring."""
    sampled = [("subject", *pair) for pair in pictures.subject] + [("unrelated", *pair) for pair in pictures.unrelated]
    first = {(role, prompt): image for role, prompt, image in reversed(sampled)}
    return [(role, prompt, first[role, prompt]) for role, prompt in dict.fromkeys(pair[:2] for pair in sampled)]


def _reference_images(context: Context) -> list[Image.Image]:
    items = read_references(context.folder.references).items
    return [picture_of(item) for item in items if isinstance(item, ImageItem)]


def _measured(pictures: Pictures) -> Json:
    return {
        "step": pictures.step,
        "similarity": round(pictures.similarity, 4),
        "swallowed": round(pictures.swallowed, 4),
        "drift": round(pictures.drift, 4),
        "content": round(pictures.content, 4),
    }
