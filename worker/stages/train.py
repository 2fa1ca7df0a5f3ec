"""Stage 5: train the adapter until the stopping rule says so, and keep the steps that it names."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import asdict
from shutil import rmtree

from core.jobs.event_codes import EventCode
from core.method.albat import train_adapter
from core.method.lora.adapter import Adapter
from core.method.training.final_run import Outcome
from core.method.training.loop import Step
from core.parameters.protection.means import DATA, Ground
from core.parameters.schedule import step_budget
from worker.job_folder import write_json, write_rows
from worker.protocol import Json, Kept, Known, Line, Message, Metrics
from worker.stages.context import Context, ProgressClock, driven
from worker.stages.export.answers import asks
from worker.stages.export.live import LiveSamples
from worker.stages.protection import protection as protecting
from worker.stages.trial import followed_curves

CURVE = (
    "reference_loss",
    "heldout_loss",
    "probe_loss",
    "fluctuation",
    "fluctuation_step",
    "similarity",
    "turning_point",
)
FOUND = ("turning_point_step", "matched_loss_step", "last_step", "stopped_early", "confidence")
NAMES = {"fluctuation": "cs_fluctuation", "fluctuation_step": "cs_step", "similarity": "cosine_similarity"}


class KeptSteps:
    """Keeps each step that is kept for certain as soon as training is past it: its owner need not wait for the end."""

    def __init__(self, context: Context) -> None:
        self._context, self._told = context, set[int]()

    def begin(self) -> Iterator[Line]:
        """Forget what another run has kept."""
        rmtree(self._context.folder.kept, ignore_errors=True)
        yield Kept("train", 0)

    def at(self, row: Json, adapter: Adapter) -> Iterator[Line]:
        """Keep the step of a row of the curve, once."""
        step = int(row["step"])
        if step not in self._told:
            self._context.keep_step(step, adapter)
            self._told.add(step)
            yield Kept("train", step, measured(row))


def train(context: Context) -> Generator[Line, None, None]:
    """Write the kept copies, the curve and the outcome."""
    p, keeper = context.p, context.keeper("train")
    keeper.beside["rows"] = list[Json]()  # the curve so far; another one when a state is found
    protection = protecting.protection(context)
    gamma = protection.gamma
    budget = step_budget(p.max_steps, gamma) if "max_steps" in p.reasons else p.max_steps
    pace = ProgressClock("train", budget, keeper=keeper)
    live, snapshots = LiveSamples(context, float(context.spec.get("live_share", 0.0))), dict[int, Adapter]()
    kept = KeptSteps(context)

    def lines(step: Step) -> Iterator[Line]:
        row = curve_row(step)
        if step.step == 0:  # also where what was saved is of no use
            keeper.beside["rows"] = []
            yield from kept.begin()
        keeper.beside["rows"].append(row)
        yield Metrics("train", [row])
        yield pace.at(step.step)
        if step.looked_at:
            if step.step:
                yield from kept.at(row, snapshots[step.step])
            yield from live.at(step.step, snapshots.get(step.step))

    yield started(p.protect_on, gamma, budget)
    with context.folder.writing("train") as folder:
        steps = train_adapter(
            context.backbone,
            context.references(),
            protection,
            p,
            followed_curves(context),
            context.probe(),
            snapshots,
            context.heldout(),
            keeper,
        )
        outcome = yield from driven(steps, lines, keeper)
        rows = {row["step"]: row for row in keeper.beside["rows"]}
        for number, adapter in sorted(snapshots.items()):
            yield from kept.at(rows.get(number, {"step": number}), adapter)
        context.keep(snapshots, folder)
        write_rows(folder / "curve.json", keeper.beside["rows"])
        write_json(folder / "outcome.json", asdict(outcome))
    yield over(outcome, budget, sampled=asks(context))
    yield Known("train", {name: getattr(outcome, name) for name in FOUND})


def started(protect_on: Ground, gamma: float, budget: int) -> Message:
    """Say what is trained on, and for how long at most."""
    words = f", {gamma:.0%} of every batch filled with {DATA[protect_on]}" if gamma else " on the references alone"
    words, told = f"Training the adapter{words}, for at most {budget} steps.", {"gamma": gamma, "max_steps": budget}
    return Message("train", words, data=told, code=EventCode.STAGE_STARTED)


def over(outcome: Outcome, budget: int, *, sampled: bool) -> Message:
    """Say that training has ended, and why."""
    code = EventCode.EARLY_STOP if outcome.stopped_early else EventCode.BUDGET_SPENT
    told = {"step": outcome.last_step, "max_steps": budget, "named_step": outcome.published_step}
    return Message("train", ended(outcome, budget, sampled=sampled), data=told, code=code)


def ended(outcome: Outcome, budget: int, *, sampled: bool) -> str:
    """Say where training ended and which step the rule names; `sampled` says whether kept steps are to be sampled."""
    words = f"Training ended at step {outcome.last_step} of {budget}; its stopping rule names step"
    changeable = sampled and outcome.rule == "auto"
    later = ", and the samples of the kept steps may choose another" if changeable else ""
    return f"{words} {outcome.published_step}{later}."


def measured(row: Json) -> Json:
    """Return what a row of the curve says of its step, under OpenAI's names."""
    named = {("train_loss" if name == "loss" else name): value for name, value in row.items()}
    return {name: value for name, value in named.items() if name != "valleys"}  # which are the run's


def curve_row(step: Step) -> Json:
    """What a step shows, under the wire's names; what was not measured is left out."""
    row: Json = {"step": step.step, "loss": sum(step.loss) / len(step.loss), "learning_rate": step.learning_rate}
    measured = {NAMES.get(field, field): getattr(step, field) for field in CURVE}
    row |= {name: value for name, value in measured.items() if value is not None and math.isfinite(value)}
    return row | {"valleys": list(step.valleys)} if step.valleys else row
