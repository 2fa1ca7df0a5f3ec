"""The figure: CS-Fluctuation over the steps with its turning point, and below it how good the adapter was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.paper.findings import ACCURACY, GUESSED, LOSS, Run
from benchmarks.paper.measuring import SHOWN

MOST = 4  # runs side by side; the others are in the record
CURVE, FIGURE, OTHER, FALLING = "#1f4e79", "#b5541c", "#d9a441", "#6b7280"


def draw(runs: Sequence[Run], title: str, file: Path) -> None:
    """Draw the first few runs; whoever reads the file reads steps from left to right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    some = runs[:MOST]
    figure, axes = plt.subplots(
        2, len(some), figsize=(max(7, 5.2 * len(some)), 7.2), layout="constrained", squeeze=False, sharex="col"
    )
    for column, run in enumerate(some):
        _fluctuation(axes[0][column], run)
        _figures(axes[1][column], run)
    figure.suptitle(title, fontsize=11)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _fluctuation(axis: Any, run: Run) -> None:
    steps = sorted(run.fluctuation)
    axis.plot(steps, [run.fluctuation[step] for step in steps], color=CURVE, label="CS-Fluctuation and its valleys")
    for number, valley in enumerate(run.valleys, 1):
        if valley in run.fluctuation:
            axis.plot(valley, run.fluctuation[valley], "v", color=CURVE)
            axis.annotate(
                str(number), (valley, run.fluctuation[valley]), (4, 8), textcoords="offset points", fontsize=8
            )
    _turning(axis, run)
    axis.set_title(f"seed {run.seed}", fontsize=10)
    axis.set_ylabel("CS-Fluctuation")
    axis.legend(fontsize=8, loc="upper right")


def _figures(axis: Any, run: Run) -> None:
    """Draw what says how good the adapter is, and on an axis of its own the loss on held-out references."""
    for name, colour in zip([name for name in SHOWN if name in run.measured], (FIGURE, OTHER), strict=False):
        series = run.measured[name]
        steps = sorted(series)
        axis.plot(steps, [series[step] for step in steps], "o-", markersize=3, color=colour, label=SHOWN[name])
    if ACCURACY in run.measured:
        axis.axhline(GUESSED, color=FIGURE, linestyle=":", linewidth=1, label="guessing")
    falling = axis.twinx() if LOSS in run.measured and len(run.measured) > 1 else axis
    if LOSS in run.measured:
        steps = sorted(run.measured[LOSS])
        losses = [run.measured[LOSS][step] for step in steps]
        falling.plot(steps, losses, "--", color=FALLING, label="loss on held-out references")
        falling.set_ylabel("loss", color=FALLING)
    if run.best is not None and run.by is not None:
        where = falling if run.by == LOSS else axis
        where.plot(run.best, run.at(run.best), "*", markersize=13, color=FIGURE, label=f"best: step {run.best}")
    _turning(axis, run)
    axis.set_xlabel("step")
    handles, labels = axis.get_legend_handles_labels()
    if falling is not axis:
        more = falling.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    axis.legend(handles, labels, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def _turning(axis: Any, run: Run) -> None:
    axis.axvline(2 * run.window, color=FALLING, linestyle=":", linewidth=1, label=f"2 M: step {2 * run.window}")
    if run.turning is not None:
        axis.axvline(run.turning, color="#a11", linewidth=1.2, label=f"turning point: step {run.turning}")
