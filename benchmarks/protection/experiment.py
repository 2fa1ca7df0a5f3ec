"""One experiment of the study: all arms from one start, what each showed all along, and where each would publish."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.arms import result_of
from benchmarks.protection.material import Material
from benchmarks.protection.means import ProtectionArm
from benchmarks.records import Record, named
from benchmarks.rules import Replay, lowest, shown_by
from benchmarks.runs import Arm, Curve, Kept, train_arms
from benchmarks.world import Setting, World
from core.method.albat import score_candidates, train_surrogate
from core.method.backbones.backbone import Batch, count
from core.method.backbones.shapes import sizes_of
from core.method.protection.keeping import kept_distance
from core.method.training.surrogates import Surrogate

KEPT_SEED = 78  # the noise under which distances are measured
DIGITS = 5
PROTECTED = ("gamma", "protect", "protect_weight", "protect_on")


def experiment(setting: Setting, folder: Path, arms: Sequence[ProtectionArm], *, drawn: bool = True) -> Record:
    """Run one experiment and return its records; `drawn` says whether what the arms draw is measured too."""
    began, family = time.monotonic(), importlib.import_module(f"benchmarks.{setting.family}")
    world: World = family.world(setting, folder)
    surrogate = result_of(train_surrogate(world.backbone, world.references, world.parameters))
    material = Material(world, selected(world, surrogate)[0], folder)
    runs = {arm.name: Arm(arm.name, gamma=arm.gamma, protection=material.of(arm), updates=arm.updates) for arm in arms}
    pictured = tuple(getattr(family, "PICTURED_STEPS", ())) if drawn else ()
    steps = sorted({*pictured, *_looked_at(world)})
    curves, kept = train_arms(world, runs, tuple(steps), lean=True)
    rows = [_row(world, surrogate, arm, runs[arm.name], curves[arm.name]) for arm in arms]
    distances = _distances(world, kept, {**_others(world), "probe": world.probe})
    for row in rows:
        far = {name: {str(step): arms[row["arm"]] for step, arms in found.items()} for name, found in distances.items()}
        row["kept"] = far
    by_name = {row["arm"]: {name: row[name] for name in PROTECTED} for row in rows}
    pictures = [{**by_name[row["arm"]], **row} for row in (family.pictures(world, kept) if pictured else [])]
    facts = {**named(world), "folds": _folds(surrogate), "seconds": round(time.monotonic() - began, 1)}
    return {"records": rows, "pictures": pictures, "facts": [facts]}


def selected(world: World, surrogate: Surrogate) -> tuple[tuple[int, ...], ...]:
    """Return what a job would protect on, then what it tries each surrogate with.

    It is by influence where the family is scored, else a draw by chance.
    """
    p, folds = world.parameters, len(surrogate.curves.folds)
    if p.kind == "images":  # scores of single pictures do not repeat there, and a job draws by chance too
        order = torch.randperm(count(world.pool), generator=torch.Generator().manual_seed(500 + p.seed))
        return (tuple(order[: p.selected_count].tolist()),) * (1 + folds)
    scored = result_of(score_candidates(world.backbone, surrogate, world.references, world.pool, p, world.sources))
    return scored.selection.indices, *scored.blind


def _looked_at(world: World) -> list[int]:
    """Return the steps of the grid at which distances are measured: nearest to thirds of the horizon, and its end."""
    thirds = [world.horizon * part / 3 for part in (1, 2, 3)]
    return sorted({min(world.grid[1:], key=lambda step: abs(step - wanted)) for wanted in thirds})


def _others(world: World) -> dict[str, Batch]:
    """Return other data that shows how the backbone behaves, where a family has some."""
    return {} if world.unrelated is None else {"unrelated": world.unrelated}


def _row(world: World, surrogate: Surrogate, arm: ProtectionArm, run: Arm, curve: Curve) -> Record:
    # of a job whose mixture was not tried: by the surrogates without protection, in as many passes over references
    published = Replay(world, run, curve).matched(shown_by(surrogate.curves))
    best = lowest(curve.steps, curve.heldout)
    return {
        **named(world),
        "arm": arm.name,
        "gamma": arm.gamma,
        "protect": arm.means,
        "protect_weight": arm.weight,
        "protect_on": arm.on,
        "published": published,
        "equal_compute": max(1, round(published * (1 - arm.gamma))),
        "best_step": best,
        "best_at_end": best == curve.steps[-1],
        "steps": curve.steps,
        "reference": short(curve.reference),
        "heldout": short(curve.heldout),
        "probe": short(curve.probe),
        "similarity": _exact(curve.similarity) if arm.name in ("none", "replay 1 pool .5", "replay 1 pool .25") else [],
        "seconds": round(curve.seconds, 1),
    }


def _distances(world: World, kept: Kept, data: dict[str, Batch]) -> dict[str, dict[int, dict[str, float]]]:
    """Return, for each data and kept step, how far every arm is from the frozen backbone."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name, batch in data.items():
        draws = world.backbone.fixed_draws(world.parameters.draws_eval, count(batch), KEPT_SEED, **sizes_of(batch))
        found[name] = {}
        for step in _looked_at(world):
            stack = kept.copies[step].to(world.backbone.device)
            far = kept_distance(world.backbone, stack, batch, draws).mean(1).tolist()
            found[name][step] = {arm: round(value, DIGITS) for arm, value in zip(kept.names, far, strict=True)}
    return found


def _folds(surrogate: Surrogate) -> Record:
    """Return the evidence that stopping goes by, so that rules can be replayed on the records."""
    curves = surrogate.curves
    seen, held = ([short(list(row)) for row in rows] for rows in (curves.seen, curves.held_out))
    return {"folds": curves.folds, "steps": curves.steps, "seen": seen, "held_out": held}


def _exact(values: list[float]) -> list[float | None]:
    """Return a series whose second differences are looked at: near 1e-6, they would be lost in five digits."""
    return [round(value, 10) if math.isfinite(value) else None for value in values]


def short(values: list[float]) -> list[float]:
    """Return a series as it is kept."""
    return [round(value, DIGITS) for value in values]
