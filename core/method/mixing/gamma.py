"""The choice of gamma, the share of backbone data in a batch, from a trial."""

from dataclasses import dataclass
from typing import Literal

from core.parameters.schedule import MAX_SHARE, usual_share

UNTRIED = (
    "A mixture can't be tried: some surrogate has no held-out reference, or fewer than two of these or of what would "
    "be mixed in are there. So the batches hold references only."
)


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
    name: str | None = None,
    asked: bool = True,
) -> GammaChoice:
    """Turn the request into a share of batch slots.

    `preset` is the one whose values hold; `name` is how the job calls it, where that is an alias or an operator's. A
    share that was not `asked` for is the preset's.

    "auto" is the share that a preset starts with (`start`, where it says so); the trial on held-out references
    (trial.py) has the last word. The error law is not asked: it never called mixing harmful in our experiments, also
    where it cost 2 per cent. It is 0 where held-out references and candidates are not `comparable`, too few of either.
    """
    if m == 0:
        return GammaChoice(0.0, "No candidate was selected, so the batches hold references only.")
    if request == "natural":
        gamma = min(m / (n + m), MAX_SHARE)
        most = ", the most that there may be" if gamma == MAX_SHARE else ""
        words = f"Natural mixing, as asked: {m} examples beside {n} references give {gamma:.2f}{most}."
        return GammaChoice(gamma, words)
    if request != "auto":
        whose = ", as asked" if asked else f" is set by the preset {name or preset}"
        return GammaChoice(float(request), f"{request:g} of the batch slots{whose}.")
    if not comparable:
        return GammaChoice(0.0, UNTRIED)
    share = usual_share(preset) if start is None else start
    return GammaChoice(share, f"{share:g} of the batch slots is where the preset {name or preset} starts.")
