"""What the adapter drew or wrote at its kept steps, as rows to look at, and what that says of the step to publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from core.method.training.final_run import Outcome
from worker.protocol import Json


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
