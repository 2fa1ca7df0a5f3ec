"""Keep what was measured, a file an arm, gather the files, and show them as a table that a person reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from core.disk import write_whole

Row = dict[str, Any]
COLUMNS = ("set", "preset", "arm", "published", "accepted", "kept", "worth", "best step", "its worth", "within 5 %")


def file_of(work: Path, name: str, arm: str, seed: int) -> Path:
    """Return where the row of an arm is kept."""
    return work / "rows" / f"{name}-{arm}-{seed}.json"


def write(file: Path, content: object) -> None:
    """Write JSON in one move, so that a file that is there is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, (json.dumps(content, indent=1) + "\n").encode())


def gather(files: Iterable[Path]) -> list[Row]:
    """Return the rows that are there, in the order of the files."""
    return [json.loads(file.read_text()) for file in files if file.is_file()]


def merge(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Return all rows, the new one where both have a set, arm and seed."""
    kept = {(row["set"], row["arm"], row["seed"]): row for row in (*old, *new)}
    return list(kept.values())


def table(rows: Sequence[Row]) -> str:
    """Return a line for each row, and how many published steps are close to the best kept one."""
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    judged = [row for row in rows if row["arm"] in ("before", "after")]
    for arm in dict.fromkeys(row["arm"] for row in judged):
        own = [row for row in judged if row["arm"] == arm]
        close = sum(row["close"] for row in own)
        near = sum(not row["close"] and not row.get("told_apart", True) for row in own)
        lines.append(
            f"{arm}: {close} of {len(own)} published steps are within 5 % of the best kept step; {near} more are no "
            "further below it than the standard error of the difference."
        )
    return "\n".join(lines)


def at(row: Row, step: int) -> Row:
    """Return what was measured at a step of a row."""
    found: Row = next(entry for entry in row["steps"] if entry["step"] == step)
    return found


def _cells(row: Row) -> tuple[str, ...]:
    there, best = at(row, row["published"]), at(row, row["best"])
    return (
        row["set"],
        row["preset"],
        row["arm"],
        str(row["published"]),
        f"{there['accepted']}/{there['asked']}",
        f"{there['kept']}/{there['unrelated']}",
        _worth(there),
        str(row["best"]),
        _worth(best),
        "yes" if row["close"] else "no" if row.get("told_apart", True) else "about",
    )


def _worth(step: Row) -> str:
    """Return what a step is worth; rows of before there were errors have none."""
    return f"{step['worth']:.2f}" + (f" +- {step['error']:.2f}" if "error" in step else "")
