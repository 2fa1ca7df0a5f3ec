"""Is what each preset learns what a person would accept? Judge every kept step of jobs, beside plain and tuned runs.

Resumable: a finished row is not measured again. The two encoder packages that it needs are named in the Makefile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.presets import results
from benchmarks.presets.arms import ARMS, Place, measure
from benchmarks.presets.grids import Strip, write_grid
from benchmarks.presets.sets import SETS
from core.disk import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "presets.json"
Task = tuple[str, str, int]  # set, arm and seed


def main() -> None:
    """Run what is missing, gather the rows, draw the grids and print the table."""
    chosen = arguments()
    if chosen.inside:
        measure_here(chosen)
        return
    tasks = [(name, arm, seed) for name in chosen.only for arm in chosen.arms for seed in chosen.seeds]
    missing = [task for task in tasks if not results.file_of(chosen.work, *task).is_file()]
    with ThreadPoolExecutor(chosen.jobs) as side_by_side:
        failed = [task for task, code in zip(missing, side_by_side.map(apart, missing), strict=True) if code]
    rows = results.gather(results.file_of(chosen.work, *task) for task in tasks)
    old = json.loads(chosen.results.read_text()) if chosen.results.is_file() else []
    results.write(chosen.results, results.merge(old, rows))
    for name in chosen.only:
        draw(chosen.work, name, [row for row in rows if row["set"] == name])
    print(results.table(rows))
    print(f"Rows: {chosen.results}. Grids: {chosen.work / 'grids'}.")
    for name, arm, seed in failed:
        print(f"{name}, {arm}, seed {seed} failed: see {chosen.work}", file=sys.stderr)
    sys.exit(1 if failed else 0)


def measure_here(chosen: argparse.Namespace) -> None:
    """Measure one arm of one set in this process."""
    import torch

    torch.set_num_threads(1)
    before = chosen.before.absolute() if chosen.before else None
    place = Place(chosen.work.absolute(), chosen.tree.absolute(), before, chosen.data.absolute(), chosen.bat)
    name, arm, seed = chosen.only[0], chosen.arms[0], chosen.seeds[0]
    results.write(results.file_of(chosen.work, name, arm, seed), measure(place, SETS[name], arm, seed))


def apart(task: Task) -> int:
    """Measure one arm of one set in a process of its own, with one thread; returns its exit code."""
    name, arm, seed = task
    print(f"{name}, {arm}, seed {seed}: begun", file=sys.stderr, flush=True)
    given = [*sys.argv[1:], "--inside", "--only", name, "--arms", arm, "--seeds", str(seed)]
    code = subprocess.run(
        [sys.executable, "-m", "benchmarks.presets", *given], env={**os.environ, "OMP_NUM_THREADS": "1"}
    ).returncode
    print(f"{name}, {arm}, seed {seed}: {'done' if code == 0 else 'failed'}", file=sys.stderr, flush=True)
    return code


def draw(work: Path, name: str, rows: Sequence[results.Row]) -> None:
    """Write the grid of a set: before training, then each kept step of each arm, the published ones marked."""
    strips: list[Strip] = []
    for row in rows:
        folder = work / "strips" / f"{name}-{row['arm']}-{row['seed']}"
        for step in row["steps"]:
            if step["step"] == 0 and strips:
                continue  # the untouched backbone once
            label = "untouched" if step["step"] == 0 else f"{row['arm']} step {step['step']}: {step['worth']:.2f}"
            published = step["step"] == row["published"]
            strips.append(Strip(label, folder / f"{step['step']:05d}", published))
    (work / "grids").mkdir(parents=True, exist_ok=True)
    write_grid(work / "grids" / name, strips)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.presets", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), metavar="SET", help=", ".join(SETS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["after", "plain", "tuned"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout whose jobs are judged (default: this)")
    parser.add_argument("--before", type=Path, help="the checkout of the arm `before`")
    parser.add_argument("--data", type=Path, default=Path("benchmark-work/data"), help="with smollm2-135m prepared")
    parser.add_argument("--work", type=Path, default=Path("benchmark-work/presets"), help="what is not finished")
    parser.add_argument(
        "--bat", type=json.loads, default={}, metavar="JSON", help="settings of every job, as in the API"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=2, help="arms side by side, one thread each")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
