"""The window M of CS-Fluctuation: how often CS is evaluated and over how many evaluations it is smoothed."""

from __future__ import annotations

from dataclasses import dataclass

# Our calibration (832 toy runs): M = t*/1.5 optimizer steps halves the excess loss of the paper's fixed windows.
WINDOW_SHARE = 1.5
MIN_EVALUATIONS, TYPICAL_EVALUATIONS = 10, 20  # of a window; whole intervals make it 30 at most
WINDOWS_TO_CONFIRM = 5  # chance alone puts the second valley at 2M, and it is known 3M later


@dataclass(frozen=True)
class Window:
    """Hold M in evaluations, the optimizer steps between two evaluations, and why."""

    evaluations: int
    interval: int
    reason: str

    @property
    def steps(self) -> int:
        """Return the window in optimizer steps."""
        return self.evaluations * self.interval


def calibrate_window(best_step: float | None, budget: int) -> Window:
    """Cut M = t*/1.5 steps into 10-30 evaluations, short enough for a second valley to be confirmed within the budget.

    `best_step` is t* on the final run's clock; None (nothing could be held out) leaves the budget alone to decide.
    """
    longest = budget / WINDOWS_TO_CONFIRM
    steps = longest if best_step is None else min(longest, best_step / WINDOW_SHARE)
    interval = max(1, round(steps / TYPICAL_EVALUATIONS))
    evaluations = max(MIN_EVALUATIONS, round(steps / interval))
    source = "a fifth of the step budget" if steps == longest else f"the surrogates' best step / {WINDOW_SHARE}"
    return Window(evaluations, interval, window_reason(evaluations, interval, f"{source}, {steps:.1f} steps"))


def window_reason(evaluations: int, interval: int, source: str) -> str:
    """Say how long the window is and where that comes from."""
    least = f", and {MIN_EVALUATIONS} evaluations at least" if evaluations == MIN_EVALUATIONS else ""
    return f"The window is {evaluations} evaluations, {interval} step{'s' * (interval > 1)} apart: {source}{least}."
