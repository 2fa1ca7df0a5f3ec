"""Measure what single sentences of docs/method.md say, and write the counts: `python -m benchmarks.claims`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.claims.first_part import first_parts, noise
from benchmarks.claims.foreigners import foreigners
from benchmarks.method import HERE
from benchmarks.records import write

RESULTS = HERE / "results" / "claims.json"


def main() -> None:
    """Measure all of it; a few minutes on one core."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found = {"foreigners": foreigners(chosen.work), "first_part": first_parts(chosen.work), "noise": noise()}
    write(chosen.results, found)
    print(f"{ {name: len(rows) for name, rows in found.items()} }: {chosen.results}")


if __name__ == "__main__":
    main()
