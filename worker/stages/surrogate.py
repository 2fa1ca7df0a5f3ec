"""Stage 2: train the K surrogates together, each blind to a part of the references."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import asdict

from core.jobs.event_codes import EventCode
from core.method.albat import train_surrogate
from core.method.influence.reference_verdicts import judge_references
from core.method.stopping.evidence import SurrogateCurves
from core.method.stopping.splitting import held_out, near_duplicate_references
from core.method.training.loop import Step
from core.method.training.surrogates import Surrogate
from core.parameters.schedule import extended
from worker.job_folder import write_json
from worker.protocol import Json, Known, Line, Message, Metrics
from worker.stages.context import Context, ProgressClock, driven, read_stack, write_stack

ALL_REFERENCES_ALIKE = (
    "All references teach nearly the same, so none can be held out and nothing is known of unseen data: the adapter is "
    "trained on them alone, and its step is a guess. Send references that differ."
)
NOT_TURNED = (
    "The held-out loss had not clearly turned up by step {step}: the surrogates go on, once, to step {most} at most."
)


def surrogate(context: Context) -> Generator[Line, None, None]:
    """Write the surrogates at the step where held-out references were best, and their curves."""
    p = context.p
    keeper = context.keeper("surrogate")
    pace = ProgressClock("surrogate", p.surrogate_steps, keeper=keeper)

    def lines(step: Step) -> Iterator[Line]:
        row: Json = {"step": step.step, "loss": sum(step.loss) / len(step.loss)}
        measured = {"reference_loss": step.reference_loss, "heldout_loss": step.heldout_loss}
        yield Metrics("surrogate", [row | {name: loss for name, loss in measured.items() if loss is not None}])
        beyond = step.step > p.surrogate_steps
        if step.step == p.surrogate_steps + 1:
            words = NOT_TURNED.format(step=p.surrogate_steps, most=extended(p.surrogate_steps))
            yield Message("surrogate", words, code=EventCode.SURROGATES_WENT_ON)
        yield pace.at(step.step, extended(p.surrogate_steps) if beyond else p.surrogate_steps)

    folds = len(held_out(context.references(), p.folds, p.seed, context.kin))
    yield Message("surrogate", _announced(folds), data={"surrogates": folds}, code=EventCode.STAGE_STARTED)
    with context.folder.writing("surrogate") as folder:
        steps = train_surrogate(context.backbone, context.references(), p, keeper, context.kin)
        result = yield from driven(steps, lines, keeper)
        write_stack(result.adapter, folder / "surrogate.safetensors")
        write_json(folder / "curves.json", {"step": result.step, **asdict(result.curves)})
    evidence = result.curves.evidence()
    words = evidence.sentence() if evidence else ALL_REFERENCES_ALIKE
    yield Message("surrogate", words, data={"step": result.step}, code=EventCode.EVIDENCE)
    yield Known("surrogate", {"references": reference_rows(context, result.curves)})


def _announced(surrogates: int) -> str:
    if surrogates > 1:
        return f"Training {surrogates} surrogates on the references, each without a part of them."
    return "Training a surrogate on all references: none can be held out."


def reference_rows(context: Context, curves: SurrogateCurves) -> list[Json]:
    """A row for each of the user's own references: what the others teach about it, its twins, and a sentence."""
    names = [row["name"] for row in context.read("prepare", "references.json")]
    judged = judge_references(near_duplicate_references(context.references(), context.kin), curves)
    return [
        {
            "name": names[one.index],
            "learnt": None if one.learnt is None or math.isnan(one.learnt) else round(one.learnt, 3),
            "twins": [names[twin] for twin in one.twins],
            "verdict": one.verdict,
            "sentence": one.sentence(names),
        }
        for one in judged
    ]


def read_surrogate(context: Context) -> Surrogate:
    """Read what the stage wrote."""
    folder = context.folder.stage("surrogate")
    adapter = read_stack(folder / "surrogate.safetensors", context.p.rank, context.p.alpha)
    stored = context.read("surrogate", "curves.json")
    return Surrogate(adapter, stored.pop("step"), read_curves(stored))


def read_curves(stored: Json) -> SurrogateCurves:
    """Return the curves of surrogates from what `asdict` made of them."""
    rows = {name: [tuple(row) for row in stored[name]] for name in ("seen", "held_out")}
    return SurrogateCurves(tuple(map(tuple, stored["folds"])), stored["gamma"], stored["steps"], **rows)
