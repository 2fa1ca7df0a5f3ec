"""Measure what single sentences of docs/method.md say, and write the counts: `python -m benchmarks.claims`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.claims.first_part import first_parts, noise
from benchmarks.claims.forecasts import forecasts
from benchmarks.claims.foreigners import foreigners
from benchmarks.claims.precision import precisions
from benchmarks.claims.triggers import triggers
from benchmarks.method import HERE
from benchmarks.records import Record, write

RESULTS = HERE / "results" / "claims.json"
MEASURED: dict[str, Callable[[Path], list[Record]]] = {
    "noise": lambda folder: noise(),
    "triggers": lambda folder: triggers(),
    "precision": precisions,
    "foreigners": foreigners,
    "first_part": first_parts,
    "forecasts": forecasts,
}


def main() -> None:
    """Measure what is asked for; all of it takes some minutes on one core."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MEASURED, default=list(MEASURED))
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for name in chosen.only:
        rows = MEASURED[name](chosen.work)
        whole = json.loads(chosen.results.read_text()) if chosen.results.is_file() else {}
        write(chosen.results, whole | {name: rows})
        print(f"{name}: {len(rows)} rows in {chosen.results}", flush=True)


if __name__ == "__main__":
    main()
