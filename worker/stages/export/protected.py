"""By what means a job has protected its backbone, on what, in how many slots, and how near to it that kept it."""

from __future__ import annotations

from worker.protocol import Json
from worker.stages.context import Context


def protected(context: Context) -> Json | None:
    """Return what protected the backbone; None where nothing did.

    `kept` is the distance of the trial's surrogates from the frozen backbone on data that nothing is trained on, each
    stack at its best step: without protection and with it. It is None where no trial has looked.
    """
    p = context.p
    scored, mixture = context.read("score", "decision.json"), context.read("trial", "mixture.json")
    if not mixture["gamma"]:
        return None
    return {
        "means": p.protect,
        "weight": p.protect_weight,
        "on": p.protect_on,
        "share": mixture["gamma"],
        "examples": scored.get("count", len(scored["selected"])),
        "kept": _kept(mixture),
    }


def _kept(mixture: Json) -> Json | None:
    kept = (mixture["trial"] or {}).get("kept")
    return {name: float(f"{kept[name]:.4g}") for name in ("without", "with")} if kept else None
