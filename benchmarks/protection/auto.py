"""What a job left on auto comes to: protected as its preset has it, tried as a job tries it, beside none."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.arms import result_of
from benchmarks.protection.experiment import selected, short
from benchmarks.records import Record, named
from benchmarks.rules import Replay, shown_by
from benchmarks.runs import Arm, Curve, train_arms
from benchmarks.world import Setting, World
from core.method.albat import train_surrogate
from core.method.backbones.backbone import take
from core.method.mixing.trial import Trial, try_mixture
from core.method.protection.protection import Protection
from core.method.training.surrogates import Surrogate
from core.parameters.presets import Preset, built_in


def experiment(setting: Setting, folder: Path) -> Record:
    """Return what was tried, what was decided, and what the run came to that followed, in `auto`."""
    world: World = importlib.import_module(f"benchmarks.{setting.family}").world(setting, folder)
    row: Record = {**named(world), "gamma": 0.0, "trials": [], "runs": {}}
    preset = built_in()[world.parameters.preset]
    if preset.protect is None or preset.protect.means == "none":
        return {"auto": [row]}
    surrogate = result_of(train_surrogate(world.backbone, world.references, world.parameters))
    protection = offered(world, surrogate, preset)
    trials = tried(world, surrogate, protection)
    gamma = trials[-1].decide().gamma
    row |= {"gamma": gamma, "trials": [_told(trial) for trial in trials]}
    if gamma:
        plain, auto = Arm("none"), Arm("auto", gamma=gamma, protection=replace(protection.at(gamma), blind=()))
        curves, _ = train_arms(world, {"none": plain, "auto": auto}, lean=True)
        for arm, followed in ((plain, surrogate.curves), (auto, trials[-1].curves)):
            curve = curves[arm.name]
            published = Replay(world, arm, curve).matched(shown_by(followed), followed.gamma)
            row["runs"][arm.name] = {"published": published, "steps": curve.steps, **_series(curve)}
    return {"auto": [row]}


def offered(world: World, surrogate: Surrogate, preset: Preset) -> Protection:
    """Return the preset's protection on what was selected, with what each surrogate is tried with."""
    told, gamma = preset.protect, preset.gamma
    assert told is not None
    assert told.means != "none"
    assert gamma is not None
    chosen, *blind = (take(world.pool, torch.tensor(places)) for places in selected(world, surrogate))
    return replace(Protection.by(told.means, told.weight, gamma.start, chosen), blind=tuple(blind))


def tried(world: World, surrogate: Surrogate, protection: Protection) -> list[Trial]:
    """Return the trials of a job: a share that harms is halved and tried once more."""
    p, found = world.parameters, list[Trial]()
    gamma: float | None = protection.gamma
    while gamma is not None:
        offer = protection.at(gamma)
        trial = result_of(try_mixture(world.backbone, world.references, offer, surrogate, p, probe=world.probe))
        assert trial is not None
        found.append(trial)
        gamma = trial.next_gamma
    return found


def _told(trial: Trial) -> Record:
    values = {name: getattr(trial, name) for name in ("gamma", "verdict", "clusters", "kept")}
    return {**values, "gain": round(trial.gain, 5), "error": round(trial.error, 5), "interval": trial.interval}


def _series(curve: Curve) -> Record:
    return {name: short(getattr(curve, name)) for name in ("reference", "heldout", "probe")}
