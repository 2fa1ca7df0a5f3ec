"""The arms of the bench: the service's own job in a checkout, a plain run of the same command, and a tuned one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.presets import jobs, rivals
from benchmarks.presets.grids import write_strip
from benchmarks.presets.judging import Bench, Judged, bench_of
from benchmarks.presets.sets import PresetSet
from core.backbones.registry import Registry
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.settings import Settings

ARMS = ("before", "after", "plain", "tuned")
PLAIN: dict[str, Any] = {"augment": False, "stop": "max_steps"}
CLOSE = 0.95  # the published step counts as right where it is worth so much of the best kept step
Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where code, data and results of a run of the bench lie."""

    work: Path
    tree: Path  # the checkout whose jobs are judged
    earlier: Path | None  # the checkout of the arm `before`
    data: Path  # the service's data folder, with the text backbone
    bat: Row  # settings of every job beyond its preset, as in the API

    def strip(self, name: str, arm: str, seed: int, step: int) -> Path:
        """Return the file of what a step made, without its ending."""
        return self.work / "strips" / f"{name}-{arm}-{seed}" / f"{step:05d}"


def measure(place: Place, chosen: PresetSet, arm: str, seed: int) -> Row:
    """Run one arm of a set and judge each step that it kept; returns its row."""
    if arm == "tuned":
        return _tuned(place, chosen, seed)
    tree = place.earlier if arm == "before" else place.tree
    if tree is None:
        raise ValueError("the arm `before` needs --before, a checkout of the code of before")
    bat = {"preset": chosen.preset, **place.bat, **(PLAIN if arm == "plain" else {})}
    out = place.work / "jobs" / f"{chosen.name}-{arm}-{seed}"
    job = jobs.run(jobs.Order(tree, chosen, out, seed, bat, place.data))
    return _judged_job(place, job, arm, seed)


def _judged_job(place: Place, job: jobs.Job, arm: str, seed: int) -> Row:
    chosen, phrase = job.chosen, job.phrase()
    bench = bench_of(chosen, job.backbone())
    steps = [_note(place, chosen, arm, seed, 0, bench.judged(None, phrase))]
    for step in job.steps:
        adapter = job.adapter(step).to(bench.backbone.device)
        steps.append(_note(place, chosen, arm, seed, step, bench.judged(adapter, phrase)))
    row = _row(chosen, arm, seed, steps, job.published)
    prompt = phrase(chosen.asked[0])
    return {**row, "prompt": prompt, "reason": job.report["stop_reason"], "gamma": job.report.get("gamma")}


def _tuned(place: Place, chosen: PresetSet, seed: int) -> Row:
    """Train the grid and keep the best step of all: the first of those that are worth most."""
    backbone = _backbone(place, chosen)
    bench = bench_of(chosen, backbone)
    tried = list(_grid(chosen, bench, backbone, seed))
    settings, step, judged = max(tried, key=lambda one: (one[2].row()["worth"], -one[1]))
    note = _note(place, chosen, "tuned", seed, step, judged)
    table = [{**given, "step": at, **made.row()} for given, at, made in tried]
    row = _row(chosen, "tuned", seed, [note], step)
    return {**row, "prompt": rivals.phrase_of(chosen)(chosen.asked[0]), "settings": settings, "grid": table}


def _grid(
    chosen: PresetSet, bench: Bench, backbone: DiffusionBackbone | LanguageBackbone, seed: int
) -> Iterator[tuple[Row, int, Judged]]:
    for rival in rivals.grid(chosen):
        for step, adapter in rivals.train(rival, chosen, backbone, None, seed):
            yield rival.settings(), step, bench.judged(adapter, rivals.phrase_of(chosen))


def _backbone(place: Place, chosen: PresetSet) -> DiffusionBackbone | LanguageBackbone:
    record = Registry.load(Settings(data=place.data)).get(jobs.BACKBONES[chosen.kind])
    if chosen.kind == "images":
        assert record.resolution is not None
        return DiffusionBackbone.load(record.path, resolution=record.resolution, target_modules=record.target_modules)
    tokens = int(record.defaults.get("max_tokens", 96))
    return LanguageBackbone.load(record.path, max_tokens=tokens, target_modules=record.target_modules)


def _note(place: Place, chosen: PresetSet, arm: str, seed: int, step: int, judged: Judged) -> Row:
    write_strip(place.strip(chosen.name, arm, seed, step), judged.shown, len(chosen.asked))
    return {"step": step, **judged.row()}


def _row(chosen: PresetSet, arm: str, seed: int, steps: list[Row], published: int) -> Row:
    trained = [step for step in steps if step["step"]]
    best = max(trained, key=lambda step: (step["worth"], -step["step"]))
    there = next(step for step in trained if step["step"] == published)
    return {
        "set": chosen.name,
        "preset": chosen.preset,
        "arm": arm,
        "seed": seed,
        "published": published,
        "best": best["step"],
        "close": close(there["worth"], best["worth"]),
        "told_apart": best["worth"] - there["worth"] > math.hypot(best["error"], there["error"]),
        "steps": steps,
    }


def close(published: float, best: float) -> bool:
    """Tell whether the published step is about as good as the best kept one; never where that is worth nothing."""
    return best > 0 and published >= CLOSE * best
