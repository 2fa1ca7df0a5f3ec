"""Whole jobs: what a person would accept of each preset, and one voice on two models of texts."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.presets.results import at
from benchmarks.statistics import Record
from benchmarks.tables.groups import table

NAMES = {"gemma3-270m": "Gemma 3 270M, pre-trained", "smollm2-135m": "SmolLM2-135M, for chats"}


def presets_table(rows: list[Record]) -> str:
    """Return what would be accepted at the published step, and how near that is to the best kept one."""

    def lines() -> Iterator[list[str]]:
        for row in rows:
            there, best = at(row, row["published"]), at(row, row["best"])
            counts = f"{there['accepted']} of {there['asked']}", f"{there['kept']} of {there['unrelated']}"
            named = row["set"], row["preset"], row["arm"], str(row["published"])
            close = "yes" if row["close"] else "no" if row.get("told_apart", True) else "about"
            yield [*named, *counts, _worth(there), f"{_worth(best)} ({row['best']})", close]

    head = "set | preset | code | published step | accepted there | unrelated kept"
    return table(f"{head} | its worth | best kept step's worth | within 5 %", lines())


def _worth(step: Record) -> str:
    return f"{step['worth']:.2f}" + (f" +- {step['error']:.2f}" if "error" in step else "")


def voices_table(rows: list[Record]) -> str:
    """Return what the same texts and settings come to on two models."""

    def lines() -> Iterator[list[str]]:
        for row in sorted(rows, key=lambda row: str(row["backbone"]), reverse=True):
            before, after = row["losses"]["heldout_loss"]
            heard = f"{row['voice']['after']['heard']} of {row['voice']['asked']}"
            losses = f"{before:.2f} -> {after:.2f} ({after / before - 1:+.0%})"
            yield [NAMES[row["backbone"]], row["weights"], losses, f"{row['published']} of {row['last']}", heard]

    return table("backbone | weights | loss on held-out answers | published step | new answers in the voice", lines())
