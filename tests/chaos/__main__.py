"""Kill, freeze, cut off and starve every part of a running service, and check what was promised.

The same seed makes the same plan of troubles. The log (chaos.log) says what was done when; it is kept, with the logs of
all processes, where a promise was broken or --out was given.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.chaos.check import figures, table
from tests.chaos.storm import Order, in_a_folder

DATABASES = {"sqlite": ["sqlite"], "postgresql": ["postgresql"], "both": ["sqlite", "postgresql"]}


def main() -> int:
    """Run the command; returns its exit status."""
    chosen = _parse()
    kept, all_checks, report = 0, 0, []
    for database in DATABASES[chosen.database]:
        poisoned = max(1, chosen.jobs // 60)
        order = Order(chosen.seed, chosen.jobs, database, poisoned, long=chosen.jobs >= 50, quiet=chosen.quiet)
        folder = chosen.out / f"{database}-{chosen.seed}" if chosen.out else None
        checks, where = in_a_folder(order, folder.absolute() if folder else None)
        print(f"\n{database}, seed {chosen.seed}, {chosen.jobs} jobs\n{table(checks)}")
        if where.exists():
            print(f"The logs are in {where}.")
        kept, all_checks = kept + sum(check.kept for check in checks), all_checks + len(checks)
        report.append({"database": database, "seed": chosen.seed, "jobs": chosen.jobs, "checks": figures(checks)})
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1, default=str) + "\n")
    print(f"{kept} passed, {all_checks - kept} failed")
    return 0 if kept == all_checks else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seed", type=int, required=True, help="which storm")
    add("--jobs", type=int, default=200, help="how many jobs clients create; a storm takes about 2 s a job")
    add("--database", choices=sorted(DATABASES), default="sqlite")
    add("--out", type=Path, metavar="DIR", help="keep all logs in this folder")
    add("--json", type=Path, metavar="FILE", help="write the figures of every promise")
    add("--quiet", action="store_true", help="write the log to its file only")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
