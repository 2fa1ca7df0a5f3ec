"""Stage 4: try on held-out references what protects the backbone, and decide whether and in how many slots it does."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from typing import Any

from core.jobs.event_codes import EventCode
from core.method.mixing.trial import Trial, try_mixture
from core.method.protection.protection import Protection
from core.method.stopping.evidence import SurrogateCurves
from core.method.training.loop import Step
from core.parameters.protection.means import DATA, PROBE
from core.parameters.schedule import extended, step_budget
from worker.job_folder import write_json
from worker.protocol import Json, Known, Line, Message, Metrics
from worker.stages.context import Context, ProgressClock, driven
from worker.stages.export.explanations import NOTHING_HELD_OUT
from worker.stages.export.protected import protected
from worker.stages.protection import protection as protecting
from worker.stages.saves import StageKeeper
from worker.stages.score import chosen
from worker.stages.surrogate import read_curves, read_surrogate


def trial(context: Context) -> Generator[Line, None, None]:
    """Write gamma and why; a gamma that was asked for, or that is 0 already, is not tried."""
    scored, tried = context.read("score", "decision.json"), None
    with context.folder.writing("trial") as folder:
        if context.p.gamma == "auto" and (offered := protecting.tried(context)).used:
            tried = yield from _trials(context, offered)
        write_json(folder / "mixture.json", mixture(scored, tried))
        if tried is not None:
            write_json(folder / "curves.json", asdict(tried.curves))
    if tried is not None:
        told = {"verdict": tried.verdict, "gamma": tried.decide().gamma}
        yield Message("trial", tried.decide().reason, data=told, code=EventCode.TRIAL_DECIDED)
    yield Known("trial", settled(context))


def settled(context: Context) -> Json:
    """Return what the outcome tells once the mixture is settled."""
    decided, evidence = context.read("trial", "mixture.json"), followed_curves(context).evidence()
    candidates = chosen(context, context.read("score", "decision.json") | {"gamma": decided["gamma"]})
    told = {name: decided[name] for name in ("gamma", "verdict", "trial")} | {"selection_reason": decided["reason"]}
    reasons = {"backbone_data": decided["reason"], "confidence": evidence.sentence() if evidence else NOTHING_HELD_OUT}
    return candidates | told | {"protected": protected(context), "reasons": reasons}


def mixture(scored: Json, tried: Trial | None) -> Json:
    """Return gamma, the verdict and the reason, and in `trial` what was measured."""
    if tried is None:
        return {"gamma": scored["gamma"], "verdict": None, "reason": scored["reason"], "trial": None}
    decided, known = tried.decide(), math.isfinite(tried.error)  # it is not where all are near-duplicates
    measured = {
        "gamma": tried.gamma,
        "gain": round(tried.gain, 5),
        "error": round(tried.error, 5) if known else None,
        "clusters": tried.clusters,
        "interval": [round(end, 5) for end in tried.interval] if known else None,
        "kept": None if tried.kept is None else dict(zip(("without", "with"), tried.kept, strict=True)),
    }
    reason = f"{scored['selection_reason']} {decided.reason}"
    return {"gamma": decided.gamma, "verdict": tried.verdict, "reason": reason, "trial": measured}


def followed_curves(context: Context) -> SurrogateCurves:
    """Return the curves that the final run's stopping goes by: the trial's where its mixture is used."""
    gamma = context.read("trial", "mixture.json")["gamma"]
    if gamma and (context.folder.stage("trial") / "curves.json").is_file():
        return read_curves(context.read("trial", "curves.json"))
    return read_surrogate(context).curves


def _trials(context: Context, offered: Protection) -> Generator[Line, None, Trial | None]:
    """Try gamma, and a smaller one where it harms; the steps of a second trial are counted on from the first."""
    keeper, gamma = context.keeper("trial"), offered.gamma
    keeper.beside.update(done=0, gamma=gamma)
    keeper.found()  # an attempt before this one may have come as far as the second trial
    pace = ProgressClock("trial", step_budget(context.p.surrogate_steps, gamma), keeper=keeper)
    while True:
        tried = yield from _tried(context, offered.at(float(keeper.beside["gamma"])), keeper, pace)
        if tried is None or tried.next_gamma is None:
            return tried
        context.folder.forget_saves()  # they are of the trial that is over
        keeper.beside.update(done=keeper.beside["done"] + tried.curves.steps[-1] + 1, gamma=tried.next_gamma)


def _tried(
    context: Context, protection: Protection, keeper: StageKeeper, pace: ProgressClock
) -> Generator[Line, None, Trial | None]:
    done, gamma = int(keeper.beside["done"]), protection.gamma
    plain, last = read_surrogate(context), done + step_budget(context.p.surrogate_steps, gamma)

    def lines(step: Step) -> Iterator[Line]:
        row: Json = {"step": done + step.step, "gamma": gamma, "loss": sum(step.loss) / len(step.loss)}
        known: dict[str, Any] = {"reference_loss": step.reference_loss, "heldout_loss": step.heldout_loss}
        yield Metrics("trial", [row | {name: loss for name, loss in known.items() if loss is not None}])
        yield pace.at(done + step.step, last if done + step.step <= last else done + extended(last - done))

    what = f"{gamma:.0%} of every batch filled with {DATA[context.p.protect_on]}"
    words = f"Training the surrogates again, {what}: do held-out references gain from it?"
    yield Message("trial", words, data={"gamma": gamma}, code=EventCode.STAGE_STARTED)
    references, probe = context.references(), context.probe()
    steps = try_mixture(context.backbone, references, protection, plain, context.p, keeper, probe, context.kin)
    tried = yield from driven(steps, lines, keeper)
    return replace(tried, probe=PROBE[context.probed_on or "pool"]) if tried else None
