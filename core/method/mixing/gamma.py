"""The choice of gamma, the share of backbone data in a batch, from a trial."""

from dataclasses import dataclass
from typing import Literal

from core.parameters.schedule import MAX_SHARE, usual_share


@dataclass(frozen=True)
class GammaChoice:
    """The share of batch slots given to backbone data, and why."""

    gamma: float
    reason: str


def choose_gamma(
    request: float | Literal["natural", "auto"],
    *,
    comparable: bool,
    n: int,
    m: int,
    preset: str = "subject",
    start: float | None = None,
) -> GammaChoice:
    """Turn the request into a share of batch slots.

    "auto" is the share that a preset starts with (`start`, where it says so); the trial on held-out references
    (trial.py) has the last word. The error law is not asked: it never called mixing harmful in our experiments, also
    where it cost 2 per cent. It is 0 where held-out references and candidates are not `comparable`, too few of either.
    """
    if m == 0:
        return GammaChoice(0.0, "No candidate was selected, so the batches hold references only.")
    if request == "natural":
        gamma = min(m / (n + m), MAX_SHARE)
        return GammaChoice(gamma, f"Natural mixing, as asked: {m} selected beside {n} references give {gamma:.2f}.")
    if request != "auto":
        return GammaChoice(float(request), f"{request:g} of the batch slots, as asked.")
    if not comparable:
        return GammaChoice(0.0, "The error law could not be estimated, so the batches hold references only.")
    share = usual_share(preset) if start is None else start
    return GammaChoice(share, f"{share:g} of the batch slots is where a {preset} starts.")
