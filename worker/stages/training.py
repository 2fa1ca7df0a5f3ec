"""Stage 4: train the adapter until the stopping rule says so, and keep the steps that it names."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import asdict
from typing import Any

from core.method.albat import train_adapter
from core.method.finalrun import Outcome
from core.method.lora import Adapter
from core.method.train import Step
from worker.folder import write_rows
from worker.protocol import Line, Message, Metrics
from worker.stages.context import Context, Pace
from worker.stages.score import selected_batch
from worker.stages.surrogate import read_surrogate

CURVE = ("reference_loss", "heldout_loss", "probe_loss", "fluctuation", "similarity", "turning_point")
NAMES = {"fluctuation": "cs_fluctuation", "similarity": "cosine_similarity"}


def train(context: Context) -> Generator[Line, None, None]:
    """Write the kept copies, the curve and the outcome."""
    p = context.p
    selected, gamma = selected_batch(context)
    probe = context.encoded_pool("probe") if context.pool is not None and context.pool.probe else None
    snapshots: dict[int, Adapter] = {}
    rows, pace = [], Pace("train", p.max_steps)
    words = f"with {gamma:.0%} backbone data" if gamma else "on the references alone"
    yield Message("train", f"Training the adapter {words}, for at most {p.max_steps} steps of references.")
    with context.folder.writing("train") as folder:
        steps = train_adapter(
            context.backbone, context.references(), selected, p, read_surrogate(context).curves, probe, snapshots,
            gamma, context.heldout(),
        )  # fmt: skip
        while True:
            try:
                step = next(steps)
            except StopIteration as done:
                outcome: Outcome = done.value
                break
            rows.append(curve_row(step))
            yield Metrics("train", [rows[-1]])
            yield pace.at(step.step, round(p.max_steps / (1 - gamma)) if "max_steps" in p.reasons else p.max_steps)
        context.keep(snapshots, folder)
        write_rows(folder / "curve.json", rows)
        (folder / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1))
    yield Message("train", outcome.reason)


def curve_row(step: Step) -> dict[str, Any]:
    """What a step shows, under the wire's names; what was not measured is left out."""
    row: dict[str, Any] = {
        "step": step.step,
        "loss": sum(step.loss) / len(step.loss),
        "learning_rate": step.learning_rate,
    }
    for field in CURVE:
        if getattr(step, field) is not None:
            row[NAMES.get(field, field)] = getattr(step, field)
    return row
