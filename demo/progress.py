"""Show a job's progress in a terminal, one line a stage."""

from __future__ import annotations

import sys
import time

from core.runtime.progress import duration

STAGES = ("prepare", "surrogate", "score", "train", "export")
WIDTH = 30


class ProgressLine:
    """Redraws one line on a terminal; elsewhere prints a line at each new tenth of a stage."""

    def __init__(self) -> None:
        self.stage = ""
        self.tenth = -1
        self.began = time.monotonic()

    def show(self, status: str, bat: dict[str, object]) -> None:
        stage = str(bat.get("stage") or status)
        share = float(str(bat.get("progress") or 0.0))
        eta = bat.get("eta_seconds")
        done = round(share * WIDTH)
        line = f"  {stage:<10} [{'#' * done}{'.' * (WIDTH - done)}] {share:4.0%}"
        if isinstance(eta, int | float):
            line += f"  about {duration(eta)} left"
        if sys.stdout.isatty():
            end = "\n" if stage != self.stage and self.stage else ""
            print(f"{end}\r{line:<90}", end="", flush=True)
        elif stage != self.stage or int(share * 10) != self.tenth:
            print(line, flush=True)
        self.stage, self.tenth = stage, int(share * 10)

    def close(self, words: str) -> None:
        print(f"\n  {words} after {duration(time.monotonic() - self.began)}", flush=True)
