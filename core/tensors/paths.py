"""Which dotted paths, of modules and of their tensors, a pattern means."""

from __future__ import annotations

from collections.abc import Sequence


def matches(pattern: str, path: str) -> bool:
    """Tell whether a pattern means a path of dotted parts.

    Without a `*` it is a suffix of whole parts (`to_q`, `to_out.0`). With one it stands for the whole path: `*` is
    exactly one part, `**` any number of parts, also none (`model.layers.*.self_attn.q_proj`, `blocks.**.to_q`).
    """
    wanted, parts = pattern.split("."), path.split(".")
    return _along(wanted, parts) if "*" in pattern else parts[-len(wanted) :] == wanted


def _along(wanted: Sequence[str], parts: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_along(wanted[1:], parts[start:]) for start in range(len(parts) + 1))
    return bool(parts) and wanted[0] in ("*", parts[0]) and _along(wanted[1:], parts[1:])
