"""Everything that only a GPU can tell, in one run of minutes: how fast it is, what it needs, and whether it is right.

Any Python that has the dependencies runs it in a checkout: `python -m benchmarks.gpu.check`. `--tiny` is the same on a
CPU with toy sizes: it shows that the check has no error. Each part stands alone: one that fails is noted and the next
one begins, and one for which no time is left is passed over. The results are written after every part.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import torch

from benchmarks.gpu import product, right, rivals, speed, whole
from benchmarks.gpu.faults import faults
from benchmarks.gpu.measuring import Facts, cuda, release
from benchmarks.gpu.remedies import remedies
from benchmarks.gpu.setup import Part, Setup
from core.disk import ROOT, write_json

RESULTS = ROOT / "benchmarks/results/gpu-check.json"
TINY_RESULTS = ROOT / "benchmark-work/gpu-check.json"
SHOWN = 6000  # characters of the results on the screen
# in this order, with the seconds that each is thought to take on a GPU: what is timed comes before the jobs, beside
# which nothing is timed, and what the CPU computes as well comes last
PARTS: tuple[tuple[Part, float], ...] = (
    (product.environment, 5),
    (speed.steps_images, 40),
    (rivals.against_diffusers, 25),
    (speed.scoring, 35),
    (speed.steps_texts, 25),
    (rivals.against_trainer, 15),
    (speed.loading, 5),
    (remedies, 35),
    (product.start_jobs, 3),
    (whole.whole_images, 30),
    (whole.whole_texts, 60),
    (product.end_jobs, 60),
    (product.trainer_and_sandbox, 40),
    (faults, 30),
    (right.right_images, 30),
    (right.right_texts, 30),
)


def main() -> int:
    """Run the parts; returns the exit status."""
    arguments = parse()
    if not (arguments.tiny or cuda()):
        print("There is no GPU that torch can use here. `make gpu-check TINY=1` tries the check on a CPU in toy sizes.")
        return 1
    warnings.filterwarnings("ignore")
    if not cuda():
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    folder = Path(tempfile.mkdtemp(prefix="albatross-gpu-"))
    setup = Setup("cuda" if cuda() else "cpu", arguments.tiny, folder, time.monotonic() + arguments.seconds)
    try:
        return run(setup, arguments.out or (TINY_RESULTS if arguments.tiny else RESULTS), arguments.only)
    finally:
        for process, _ in setup.jobs.values():
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.check", description=__doc__)
    parser.add_argument("--out", type=Path, help=f"the results (default: {RESULTS.relative_to(ROOT)})")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, on a CPU where there is no GPU")
    parser.add_argument("--seconds", type=float, default=340.0, help="no part begins that would end after so long")
    names = [part.__name__ for part, _ in PARTS]
    parser.add_argument("--only", nargs="*", default=names, choices=names, metavar="PART", help=", ".join(names))
    return parser.parse_args()


def run(setup: Setup, out: Path, only: list[str]) -> int:
    """Run the parts that are asked for, and write what they find; returns the exit status."""
    began = time.monotonic()
    content: Facts = {"device": setup.device, "tiny": setup.tiny, "parts": setup.found}
    failed, took, skipped = content.setdefault("failed", {}), content.setdefault("took", {}), []
    for part, seconds in PARTS:
        name = part.__name__
        if name not in only:
            continue
        if not setup.tiny and setup.seconds_left < seconds / 2:
            skipped.append(name)
            continue
        begins = time.monotonic()
        _run(part, setup, failed)
        took[name] = round(time.monotonic() - begins, 1)
        print(f"{name:20} {'FAILED' if name in failed else 'done':7} {took[name]:6.1f} s", flush=True)
        write_json(out, content | {"skipped": skipped, "seconds": round(time.monotonic() - began, 1)})
    print(json.dumps(setup.found, default=str)[:SHOWN])
    print(f"failed: {list(failed)}  passed over: {skipped}  results: {out}")
    return 1 if failed else 0


def _run(part: Part, setup: Setup, failed: Facts) -> None:
    """Keep what a part finds, or where it failed."""
    try:
        setup.found[part.__name__] = part(setup)
    except Exception as error:
        failed[part.__name__] = [f"{type(error).__name__}: {str(error)[:500]}", traceback.format_exc()[-1800:]]
        release()


if __name__ == "__main__":
    raise SystemExit(main())
