"""Show what the arms of an experiment answer, side by side, near the step that each is published at."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.texts import answers

RULE = "auto"


def main() -> None:
    """Print the answers of the experiments that are named, or of all that were kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.texts", description=__doc__)
    parser.add_argument("keys", nargs="*", help='of experiments, as in "smollm2 kettle n=8 lr=0.002 related seed=0"')
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"))
    chosen = parser.parse_args()
    named = [answers.file_of(chosen.work, key) for key in chosen.keys]
    for file in named or sorted((chosen.work / "answers").glob("*seed=*.json")):
        print(f"\n{file.stem}")
        print("\n".join(answers.side_by_side(json.loads(file.read_text()), published(chosen.work, file.name))))


def published(work: Path, name: str) -> dict[str, int]:
    """Return the step at which each arm of an experiment is published, where its records are there."""
    file = work / "settings" / name
    rows = json.loads(file.read_text())["records"] if file.is_file() else []
    return {row["arm"]: row["stop_step"] for row in rows if row["rule"] == RULE}


if __name__ == "__main__":
    main()
