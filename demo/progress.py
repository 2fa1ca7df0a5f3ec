"""Show a job's progress in a terminal, one line a stage."""

from __future__ import annotations

from collections.abc import Mapping

from core.runtime.progress import ProgressLine, bar, duration


def show(line: ProgressLine, status: str, bat: Mapping[str, object]) -> None:
    """Show the job's stage, how much of it is done, and how long it will take."""
    stage = str(bat.get("stage") or status)
    share = float(str(bat.get("progress") or 0.0))
    eta = bat.get("eta_seconds")
    left = f"  about {duration(eta)} left" if isinstance(eta, int | float) else ""
    line.show(f"  {stage:<10} {bar(share)} {share:4.0%}{left}", share, stage)
