"""What a job's probe shows: how the loss has changed on what the backbone knew and nothing was trained on."""

from __future__ import annotations

from core.method.backbones.backbone import count
from worker.protocol import Json
from worker.stages.context import Context

EXAMPLES = {"pool": "examples of the backbone's data", "own": "samples of the backbone's own"}


def probe(context: Context) -> Json | None:
    """Return where the probe comes from, the pool or the backbone itself, and how large it is; None without any."""
    found = context.probe()
    return None if found is None else {"on": context.probed_on, "examples": count(found)}


def reasons(summary: Json) -> dict[str, str]:
    """Say how the loss on the probe has changed, where that was seen."""
    told, change = summary["probe"], summary["forgetting"]
    if told is None or change is None:
        return {}
    moved = f"{abs(change):.1%} {'higher' if change >= 0 else 'lower'} than before training"
    seen = f"the loss on {told['examples']} held-out {EXAMPLES[told['on']]}"
    return {"forgetting": f"At step {summary['published_step']} {seen} is {moved}."}
