"""What the method is worth: train every arm on backbones whose training data is known, and compare on unseen data.

Resumable: an experiment whose results are there is not repeated. `python -m benchmarks.method --help` says the rest.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks import records
from benchmarks.arms import prepare
from benchmarks.records import Record
from benchmarks.runs import train_arms
from benchmarks.world import Setting

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "method.json"
FAMILIES = ("nano", "emoji", "smollm2", "gemma270m")
# The small model's later seeds were run once, after everything had been decided on the first three.
SEEDS = {"nano": (0, 1, 2, 6, 7), "emoji": (0,), "smollm2": (0,), "gemma270m": (0,)}
QUICK_SEEDS = (0,)


def main() -> None:
    """Run what is missing and write the results."""
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    wanted = [setting for family in chosen.families for setting in settings(family, chosen.seeds, chosen.quick)]
    mine = [setting for place, setting in enumerate(wanted) if place % chosen.parts == chosen.part]
    missing = [setting for setting in mine if not records.file_of(chosen.work, setting).is_file()]
    began = time.monotonic()
    for done, setting in enumerate(missing):
        left = (time.monotonic() - began) / done * (len(missing) - done) if done else None
        print(progress(done, len(missing), setting, left), file=sys.stderr, flush=True)
        records.write(records.file_of(chosen.work, setting), experiment(setting, chosen.work))
    files = [records.file_of(chosen.work, setting) for setting in wanted]
    whole = records.gather(file for file in files if file.is_file())
    if chosen.parts == 1:
        records.write(chosen.results, whole)
        print(f"{len(whole['records'])} records of {len(whole['facts'])} experiments: {chosen.results}")


def experiment(setting: Setting, folder: Path) -> Record:
    """Run one experiment: prepare, train all arms, replay all rules."""
    family = importlib.import_module(f"benchmarks.{setting.family}")
    world = family.world(setting, folder)
    prepared = prepare(world, lean=family.LEAN, gammas=family.TRIED)
    arms = {name: arm for name, arm in prepared.arms.items() if not family.ARMS or name in family.ARMS}
    curves, kept = train_arms(world, arms, getattr(family, "PICTURED_STEPS", ()))
    drawn = family.pictures(world, kept) if kept.copies else []
    pictures = [{**records.protected(row["arm"], arms[row["arm"]]), **row} for row in drawn]
    rows, whole = records.records(world, prepared, curves), records.curves_of(world, prepared, curves)
    return {"records": rows, "facts": [records.facts(world, prepared)], "pictures": pictures, "curves": whole}


def settings(family: str, seeds: Sequence[int] | None, quick: bool) -> Iterator[Setting]:
    """Return a family's settings."""
    module = importlib.import_module(f"benchmarks.{family}")
    return module.settings(seeds or (QUICK_SEEDS if quick else SEEDS[family]), quick=quick)


def progress(done: int, total: int, setting: Setting, left: float | None) -> str:
    """Return one line that says how far the benchmark is."""
    eta = "" if left is None else f"  about {left / 60:.0f} min left"
    return f"[{done + 1}/{total}] {setting.key}{eta}"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.method", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed and fewer settings, about ten minutes")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds of every setting (default: those of the table)")
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"), help="where unfinished results are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", type=int, default=0, help="run only every --parts'th experiment, from this one on")
    parser.add_argument("--parts", type=int, default=1, help="share the experiments out; a last run with 1 gathers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
