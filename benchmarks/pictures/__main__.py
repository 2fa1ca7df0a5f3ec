"""Compose a sheet of what every arm of one experiment drew at its published step, under the references.

`python -m benchmarks.pictures "emoji cat n=6 lr=0.001 related seed=0"` writes SETTING-KEY.png beside the strips.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from benchmarks.pictures.sheet import compose, kept

REFERENCES, BEFORE = "references", "before training"
PUBLISHED = "auto"  # the rule


def main() -> None:
    """Read the command line, write the sheet and say where it lies."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("key", nargs="?", help="the experiment; none: all that have strips")
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"))
    parser.add_argument("--step", type=int, help="show this step instead of the published one")
    chosen = parser.parse_args()
    name = chosen.key.replace(" ", "_") if chosen.key else "*"
    folders = [folder for folder in sorted((chosen.work / "pictures").glob(name)) if folder.is_dir()]
    for folder in folders:
        file = folder.with_name(f"{folder.name}.png")
        compose(rows(folder, published(chosen.work, folder.name), chosen.step)).save(file)
        print(file)
    if not folders:
        raise SystemExit(f"no strips of {chosen.key or 'any experiment'} under {chosen.work / 'pictures'}")


def rows(folder: Path, published: dict[str, int], step: int | None) -> list[tuple[str, Path]]:
    """Return the strips to show: references, the untouched backbone, and each arm at the kept step nearest its own."""
    strips = kept(folder)
    found = [(name, strips[name, 0]) for name in (REFERENCES, BEFORE) if (name, 0) in strips]
    for arm in dict.fromkeys(name for name, at in strips if at):
        steps = [at for name, at in strips if name == arm]
        wanted = step or published.get(arm, max(steps))
        near = min(steps, key=lambda at: abs(math.log(at / wanted)))
        told = f"{arm}, step {near}" + (f" ({PUBLISHED}: {published[arm]})" if arm in published else "")
        found.append((told, strips[arm, near]))
    return found


def published(work: Path, name: str) -> dict[str, int]:
    """Return the step that the stopping rule named for each arm, as far as the experiment is done."""
    file = work / "settings" / f"{name}.json"
    records = json.loads(file.read_text())["records"] if file.is_file() else []
    return {row["arm"]: row["stop_step"] for row in records if row["rule"] == PUBLISHED and row["stop_step"]}


if __name__ == "__main__":
    main()
