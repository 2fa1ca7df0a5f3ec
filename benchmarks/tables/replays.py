"""Replay stopping rules on the runs of the study of protection, from what it keeps: losses, similarity and evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.rules import Replay, Stop, lowest, shown_by
from benchmarks.runs import Arm, Curve
from benchmarks.statistics import UNIT, Record, unit
from benchmarks.tables.groups import kind
from benchmarks.tables.study import NONE, at
from benchmarks.world import Setting, parameters
from core.method.backbones.backbone import Batch
from core.method.stopping.evidence import SurrogateCurves
from core.parameters.parameters import Parameters

PRESETS = {
    "dialect": "tone",
    "voice": "tone",
    "format": "format",
    "facts": "tone",
    "style": "style",
    "subject": "subject",
}


@dataclass(frozen=True)
class _Ran:
    """An experiment as far as rules ask for it."""

    setting: Setting
    references: Batch
    parameters: Parameters
    horizon: int

    @classmethod
    def of(cls, run: Record) -> _Ran:
        """Return the experiment of a recorded run."""
        setting = Setting(*(run[name] for name in UNIT))
        learned = "images" if kind(run) in ("subject", "style") else "texts"
        p = parameters(setting, kind=learned, preset=PRESETS[kind(run)], max_steps=run["horizon"])
        return cls(setting, {"reference": torch.zeros(setting.n)}, p, run["horizon"])


def stopped(records: Sequence[Record], facts: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Return a record for every run without protection and every rule, and the runs as curves."""
    evidence = {unit(fact): fact["folds"] for fact in facts}
    runs = [run for run in records if run["arm"] == NONE and unit(run) in evidence]
    once = list({unit(run): run for run in runs}.values())
    found = [row for run in once for row in _rows(run, curves_of(evidence[unit(run)]))]
    return found, once


def curves_of(told: Record) -> SurrogateCurves:
    """Return the curves of an experiment's surrogates."""
    held = tuple(tuple(fold) for fold in told["folds"])
    seen, held_out = ([tuple(row) for row in told[name]] for name in ("seen", "held_out"))
    return SurrogateCurves(held, 0.0, list(told["steps"]), seen, held_out)


def judged(fact: Record) -> Record:
    """Return an experiment's facts with the word of a job for its confidence."""
    return {**fact, "confidence": shown_by(curves_of(fact["folds"])).confidence}


def published(run: Record, folds: Record) -> int:
    """Return the step that held-out evidence of surrogates without protection names on a recorded run."""
    series = {name: run[name] for name in ("steps", "reference", "heldout", "probe", "similarity")}
    return Replay(_Ran.of(run), Arm(run["arm"], gamma=run["gamma"]), Curve(**series)).matched(
        shown_by(curves_of(folds))
    )


def _rows(run: Record, curves: SurrogateCurves) -> list[Record]:
    ran = _Ran.of(run)
    series = {name: run[name] for name in ("steps", "reference", "heldout", "probe", "similarity")}
    replay, told = Replay(ran, Arm(NONE), Curve(**series)), shown_by(curves)
    found: dict[str, Any] = {
        "never": run["horizon"],
        "oracle": lowest(run["steps"], run["heldout"]),
        "random step": replay.random_step(),
        "matched loss K=4": replay.matched(told),
        "matched loss, in proportion": replay.matched(replace(told, scale=told.scale**2)),
    }
    # without the similarity nothing is said of CS-Fluctuation; auto's step is that of the matched loss
    found |= replay.fluctuation_rules(curves) if run["similarity"] else replay.fixed_steps()
    named: dict[str, Stop] = {rule: Stop(step) for rule, step in found.items()}
    named["auto"] = replay.auto(curves) if run["similarity"] else Stop(found["matched loss K=4"])
    return [_row(run, rule, stop) for rule, stop in named.items()]


def _row(run: Record, rule: str, stop: Stop) -> Record:
    start, least = run["heldout"][0], min(run["heldout"][1:])
    losses = {"heldout_start": start, "heldout_best": least, "heldout_at_stop": at(run, "heldout", stop.step)}
    forgetting = at(run, "probe", stop.step) / run["probe"][0] - 1
    named = {name: run[name] for name in (*UNIT, "kind", "cluster", "horizon", "arm", "gamma", "best_step")}
    ends = {} if stop.ended is None else {"end_step": stop.ended, "ended_by_turning": stop.by_turning}
    return {**named, "rule": rule, "stop_step": stop.step, "forgetting": forgetting, **losses, **ends}
