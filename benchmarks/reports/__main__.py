"""Run the jobs and check their sentences, or check the output folders of jobs that are there.

Finished jobs are not run again; delete the work folder to start anew.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.reports.checking import Verdict, check, table
from benchmarks.reports.orders import ORDERS, USUAL
from core.disk import ROOT, write_json

RESULTS = ROOT / "benchmarks" / "results" / "reports.json"


def main() -> None:
    """Print a table of jobs, sentences and what is false; exit with 1 where anything is."""
    chosen = arguments()
    if chosen.out:
        verdicts = [check(out, chosen.presets) for out in chosen.out]
    else:
        verdicts = ordered(chosen.only, chosen.work.absolute())
        write_json(chosen.results, summary(verdicts))
    print(table(verdicts))
    sys.exit(1 if any(verdict.faults for verdict in verdicts) else 0)


def ordered(names: list[str], work: Path) -> list[Verdict]:
    """Run the named jobs one after another, with one thread, and check each."""
    import torch

    from benchmarks.reports.material import furnish
    from benchmarks.reports.running import run

    torch.set_num_threads(1)
    settings = furnish(work)
    verdicts = []
    for name in names:
        verdicts.append(check(run(ORDERS[name], work, settings), [settings.presets_folder]))
        print(f"{name}: {len(verdicts[-1].faults)} false", file=sys.stderr, flush=True)
    return verdicts


def summary(verdicts: list[Verdict]) -> dict[str, object]:
    """Return what is kept of a run."""
    rows = [
        {
            "job": one.name,
            "preset": one.preset,
            "sentences": one.sentences,
            "claims": one.claims,
            "false": [f"{fault.sentence.where}: {fault.what}" for fault in one.faults],
        }
        for one in verdicts
    ]
    totals = {name: sum(getattr(one, name) for one in verdicts) for name in ("sentences", "claims")}
    return {"jobs": len(verdicts), **totals, "false": sum(len(one.faults) for one in verdicts), "rows": rows}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reports", description=__doc__)
    parser.add_argument("out", type=Path, nargs="*", help="what `albatross train --out` has left; none: run the jobs")
    parser.add_argument("--presets", type=Path, nargs="*", default=[], help="folders of an operator's presets")
    parser.add_argument("--only", nargs="+", choices=ORDERS, default=list(USUAL), metavar="JOB")
    parser.add_argument("--work", type=Path, default=Path("benchmark-work/reports"), help="the jobs' folder")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
