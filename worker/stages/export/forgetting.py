"""What a job's probe shows: how the loss has changed on what the backbone knew and nothing was trained on."""

from __future__ import annotations

from collections.abc import Sequence

from core.method.backbones.backbone import count
from worker.protocol import Json
from worker.stages.context import Context

EXAMPLES = {"pool": "examples of the backbone's data", "own": "samples of the backbone's own"}


def probe(context: Context) -> Json | None:
    """Return where the probe comes from, the pool or the backbone itself, and how large it is; None without any."""
    found = context.probe()
    return None if found is None else {"on": context.probed_on, "examples": count(found)}


def reasons(summary: Json, curve: Sequence[Json]) -> dict[str, str]:
    """Say how the loss on the probe has changed, where that was seen: not at every step that may be published."""
    told, change = summary["probe"], summary["forgetting"]
    if told is None or change is None:
        return {}
    moved = f"{abs(change):.1%} {'higher' if change >= 0 else 'lower'} than before training"
    seen = f"the loss on {told['examples']} held-out {EXAMPLES[told['on']]}"
    steps = [row["step"] for row in curve if "probe_loss" in row]
    return {"forgetting": f"At step {nearest(steps, summary['published_step'])} {seen} is {moved}."}


def nearest(steps: Sequence[int], step: int) -> int:
    """Return the one of these steps that is nearest to another."""
    return min(steps, key=lambda at: abs(at - step))
