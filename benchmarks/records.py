"""Keep what was measured: one file an experiment while the benchmark runs, one list of records when it is done."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.arms import Prepared, automatic
from benchmarks.rules import Stop, at, stops
from benchmarks.runs import Arm, Curve
from benchmarks.statistics import cluster
from benchmarks.world import Setting, World
from core.disk import write_whole

Record = dict[str, Any]
DIGITS, DIGITS_OF_CURVES = 5, 4
SECTIONS = ("records", "facts", "pictures", "curves")


def records(world: World, prepared: Prepared, curves: dict[str, Curve]) -> list[Record]:
    """Return a record for every run and rule; the arm `auto` is the run that gamma="auto" came to."""
    chosen = automatic(prepared)
    rows: list[Record] = []
    for name, curve in curves.items():
        arm = prepared.arms[name]
        every = name in ("none", chosen)
        found = stops(world, prepared, arm, curve, split=curves.get("quarter"), every_rule=every)
        measured = [_measured(curve, rule, stop) for rule, stop in found.items()]
        for label in [name, "auto"] if name == chosen else [name]:
            rows += [{**named(world), **protected(label, arm), **row} for row in measured]
    return rows


def curves_of(world: World, prepared: Prepared, curves: dict[str, Curve]) -> list[Record]:
    """Return what every run showed all along, so that steps that no rule names can be looked at later."""
    rows = []
    for name, curve in curves.items():
        best, series = _lowest(curve), {"heldout": curve.heldout, "probe": curve.probe, **_behaviour(curve)}
        shown = {title: [round(value, DIGITS_OF_CURVES) for value in values] for title, values in series.items()}
        ends = {"best_step": curve.steps[best], "steps": curve.steps}
        rows.append({**named(world), **protected(name, prepared.arms[name]), **ends, **shown})
    return rows


def named(world: World) -> Record:
    """Return what names an experiment: its setting, how long its runs are, and with which others it shares its luck."""
    setting = asdict(world.setting)
    return {**setting, "kind": kind(world), "cluster": cluster(setting), "horizon": world.horizon}


def kind(world: World) -> str:
    """Return what the references are."""
    return "dialect" if world.setting.family == "nano" else world.kind or world.parameters.preset


def protected(label: str, arm: Arm) -> Record:
    """Return by what an arm protects what the backbone knows."""
    protect = "replay" if arm.gamma else "none"
    return {"arm": label, "gamma": arm.gamma, "protect": protect, "protect_weight": 1.0, "protect_on": "pool"}


def _measured(curve: Curve, rule: str, stop: Stop) -> Record:
    lowest, step = _lowest(curve), stop.step
    return {
        "rule": rule,
        "stop_step": step,
        "best_step": curve.steps[lowest],
        "best_at_end": lowest == len(curve.steps) - 1,
        "heldout_start": _short(curve.heldout[0]),
        "heldout_at_stop": _short(at(curve, curve.heldout, step)),
        "heldout_best": _short(curve.heldout[lowest]),
        "forgetting": _short(at(curve, curve.probe, step) / curve.probe[0] - 1),
        "forgetting_at_best": _short(curve.probe[lowest] / curve.probe[0] - 1),
        **{name: _short(at(curve, values, step)) for name, values in _behaviour(curve).items()},
        **{f"{name}_at_best": _short(values[lowest]) for name, values in _behaviour(curve).items()},
        "seconds": round(curve.seconds, 2),
        **({} if stop.ended is None else {"end_step": stop.ended, "ended_by_turning": stop.by_turning}),
    }


def _behaviour(curve: Curve) -> dict[str, list[float]]:
    """Return how far behaviour had moved from the frozen backbone's, where that was measured."""
    found = {"kept": curve.kept, "kept_own": curve.kept_own}
    return {name: values for name, values in found.items() if values}


def _lowest(curve: Curve) -> int:
    """Return the place on the grid, after the start, at which the held-out loss is least."""
    return min(range(1, len(curve.steps)), key=curve.heldout.__getitem__)


def facts(world: World, prepared: Prepared) -> Record:
    """Return what an experiment showed before its final runs: scores, law, trials, confidence."""
    evidence = prepared.surrogate.curves.evidence()
    law = prepared.law
    return {
        **named(world),
        "reliability": _short(prepared.ranking.reliability),
        "reliability_of_sources": _short(prepared.ranking.by_source),
        "reliability_of_candidates": _short(prepared.ranking.by_candidate),
        "right_share": {name: _short(share) for name, (share, _) in prepared.shares.items()},
        "shuffled_share": {name: _short(share) for name, (_, share) in prepared.shares.items()},
        "law_gamma": law.gamma_star if law else None,
        "law_verdict": law.verdict if law else None,
        "law_ratio": _short(law.ratio) if law else None,
        "trials": {
            f"{gamma:g}": {"gain": _short(trial.gain), "error": _short(trial.error), "verdict": trial.verdict}
            for gamma, trial in prepared.trials.items()
        },
        "auto_gamma": prepared.auto_gamma,
        "expected_gain": _short(evidence.gain) if evidence else None,
        "confidence": evidence.confidence if evidence else None,
        "seconds": {name: round(value, 2) for name, value in prepared.seconds.items()},
    }


def file_of(folder: Path, setting: Setting) -> Path:
    """Return where an experiment's results are kept until all are there."""
    return folder / "settings" / f"{setting.key.replace(' ', '_')}.json"


def write(file: Path, value: object) -> None:
    """Write JSON in one move, so that a file that is there is whole."""
    write_whole(file, (json.dumps(value, separators=(",", ":")) + "\n").encode())


def gather(files: Iterable[Path], sections: Sequence[str] = SECTIONS) -> dict[str, list[Record]]:
    """Return the records, facts, pictures and curves of all experiments that are done."""
    whole: dict[str, list[Record]] = {name: [] for name in sections}
    for file in files:
        part = json.loads(file.read_text())
        for name in whole:
            whole[name] += part.get(name, [])
    return whole


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, DIGITS)
