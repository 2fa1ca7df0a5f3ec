"""How peft is told which modules an adapter changes: exactly those, in as few names as possible."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable


def peft_targets(adapted: Collection[str], modules: Iterable[str], wanted: Collection[str] = ()) -> list[str] | str:
    """Return `target_modules` by which peft chooses the paths `adapted` among all `modules`, and no other.

    The names `wanted` where they do; else the shortest ending of each path that no other module has; and where a whole
    path is another's ending, one regular expression, which peft holds against whole paths.
    """
    others = [path for path in modules if path not in adapted]
    if wanted and not any("*" in name for name in wanted) and _exact(wanted, adapted, others):
        return sorted(wanted)
    taken = _endings(others)
    names = {_shortest(path, taken) for path in adapted}
    if None in names:
        return f"({'|'.join(re.escape(path) for path in sorted(adapted))})"
    return sorted(name for name in names if name is not None)


def _exact(names: Collection[str], adapted: Collection[str], others: Iterable[str]) -> bool:
    return all(_ends(path, names) for path in adapted) and not any(_ends(path, names) for path in others)


def _ends(path: str, names: Iterable[str]) -> bool:
    return any(path == name or path.endswith(f".{name}") for name in names)


def _endings(paths: Iterable[str]) -> set[str]:
    return {ending for path in paths for ending in _parts(path)}


def _shortest(path: str, taken: Collection[str]) -> str | None:
    return next((ending for ending in _parts(path) if ending not in taken), None)


def _parts(path: str) -> Iterable[str]:
    """Yield the endings of a path in whole parts, the shortest first."""
    parts = path.split(".")
    return (".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1))
