"""Stage 2: train the K surrogates together, each blind to a part of the references."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import asdict

from core.method.albat import Surrogate, train_surrogate
from core.method.surrogate import SurrogateCurves
from worker.protocol import Line, Message, Metrics
from worker.stages.context import Context, Pace, read_stack, write_stack


def surrogate(context: Context) -> Generator[Line, None, None]:
    """Write the surrogates at the step where held-out references were best, and their curves."""
    p = context.p
    yield Message("surrogate", f"Training {p.folds} surrogates on the references, each without a part of them.")
    pace = Pace("surrogate", p.surrogate_steps)
    with context.folder.writing("surrogate") as folder:
        steps = train_surrogate(context.backbone, context.references(), p)
        while True:
            try:
                step = next(steps)
            except StopIteration as done:
                result: Surrogate = done.value
                break
            mean = sum(step.loss) / len(step.loss)
            row = {
                "step": step.step,
                "loss": mean,
                "reference_loss": step.reference_loss,
                "heldout_loss": step.heldout_loss,
            }
            yield Metrics("surrogate", [{name: value for name, value in row.items() if value is not None}])
            yield pace.at(step.step)
        write_stack(result.adapter, folder / "surrogate.safetensors")
        (folder / "curves.json").write_text(json.dumps({"step": result.step, **asdict(result.curves)}))
    evidence = result.curves.evidence()
    yield Message("surrogate", evidence.sentence() if evidence else "There are too few references to hold one out.")


def read_surrogate(context: Context) -> Surrogate:
    """Read what the stage wrote."""
    folder = context.folder.stage("surrogate")
    adapter = read_stack(folder / "surrogate.safetensors", context.p.rank, context.p.alpha)
    stored = context.read("surrogate", "curves.json")
    curves = SurrogateCurves(
        tuple(map(tuple, stored["folds"])), stored["steps"], [tuple(row) for row in stored["seen"]],
        [tuple(row) for row in stored["held_out"]],
    )  # fmt: skip
    return Surrogate(adapter, stored["step"], curves)
