"""What the adapter drew or wrote at its kept steps, as rows to look at, and what that says of the step to publish."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from core.method.training.final_run import Outcome
from worker.protocol import Json

THUMBNAIL = 256  # pixels of the longer side of what lists of samples show
COVER, COVER_QUALITY = 96, 80  # the same of the one picture that stands for a job in a list of jobs


@dataclass
class Gallery:
    """The outcome after the samples have had their say, what was sampled, and what was measured of it."""

    outcome: Outcome
    rows: list[Json] = field(default_factory=list)
    pictures: list[Json] = field(default_factory=list)  # how alike, how swallowed, how far adrift at each step
    answers: list[Json] = field(default_factory=list)  # how many have the voice or the shape at each step
    reasons: dict[str, str] = field(default_factory=dict)


def marks(outcome: Outcome, step: int) -> list[str]:
    """Return the names that a kept step goes by."""
    return ["before"] if step == 0 else sorted(name for name, at in outcome.kept.items() if at == step)


def picture_file(step: int, number: int) -> str:
    """Name the file of a step's picture."""
    return f"sample-{step:05d}-{number}.png"


def row_of(number: int, step: int, labels: list[str], answer: tuple[str, str, Any], folder: Path) -> Json:
    """Return the row of an answer (role, prompt, picture or text); a picture is written to the folder, also small."""
    role, prompt, shown = answer
    row: Json = {"id": f"{step}-{number}", "step": step, "labels": labels, "role": role, "prompt": prompt}
    if not isinstance(shown, Image.Image):
        return row | {"text": shown}
    row |= {"image": picture_file(step, number), "width": shown.width, "height": shown.height}
    shown.save(folder / row["image"])
    if max(shown.size) <= THUMBNAIL:
        return row | {"thumbnail": row["image"]}
    small = shown.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    row["thumbnail"] = f"thumbnail-{row['image']}"
    small.save(folder / row["thumbnail"])
    return row


def cover(picture: Image.Image) -> str:
    """Return a picture so small that a list of jobs can hold it, as a data URI."""
    small, buffer = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((COVER, COVER))
    if max(picture.size) <= COVER:  # which JPEG would smear
        small.save(buffer, "PNG", optimize=True)
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    small.save(buffer, "JPEG", quality=COVER_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def cover_of(samples: Sequence[Json], step: int, folder: Path) -> str | None:
    """Return that of the first picture of what was learned at a step; None of texts."""
    drawn = [row for row in samples if row["step"] == step and row["role"] == "subject" and "thumbnail" in row]
    if not drawn:
        return None
    with Image.open(folder / drawn[0]["thumbnail"]) as picture:
        return cover(picture)


def rows(step: int, labels: list[str], answers: Sequence[tuple[str, str, Any]], folder: Path) -> list[Json]:
    """Return a row for each answer of a step."""
    return [row_of(number, step, labels, answer, folder) for number, answer in enumerate(answers)]
