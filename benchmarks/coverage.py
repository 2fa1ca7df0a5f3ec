"""How often the 90 % interval of a trial holds what its mixture changes on unseen data: from records of whole runs.

The truth is the difference of the runs with and without backbone data on held-out data, each at its own best step.
`python -m benchmarks.coverage` writes results/coverage.json from results/replay.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks import records
from benchmarks.records import Record
from benchmarks.statistics import unit
from core.method.mixing.trial import Trial
from core.method.stopping.evidence import SurrogateCurves

HERE = Path(__file__).resolve().parent / "results"
RUNS, RESULTS = HERE / "replay.json", HERE / "coverage.json"
NORMAL = 1.645  # standard errors on each side, as it was before
CHOSEN_BY = {"nano": (0, 1, 2)}  # the seeds that what references share was chosen by; the others are fresh
ARMS = {"0.25": "influence .25", "0.5": "influence .5"}


@dataclass(frozen=True)
class Judged:
    """One trial with the truth about it."""

    family: str
    seed: int
    trial: Trial
    true: float

    @property
    def held(self) -> bool:
        """Whether the interval holds the truth."""
        low, high = self.trial.interval
        return low <= self.true <= high

    @property
    def held_by_normal(self) -> bool:
        """Whether a normal interval over references would."""
        return abs(self.trial.gain - self.true) <= NORMAL * self.trial.error


def judged(runs: dict[str, list[Record]]) -> Iterator[Judged]:
    """Yield every trial of which both runs were trained."""
    found = {(unit(record), record["arm"]): record for record in runs["records"]}
    for fact in runs["facts"]:
        none = found.get((unit(fact), "none"))
        for gamma, told in fact["trials"].items():
            mixed = found.get((unit(fact), ARMS.get(gamma, "")))
            if none and mixed:
                true = (none["heldout_best"] - mixed["heldout_best"]) / none["heldout_start"]
                curves = SurrogateCurves((tuple(range(fact["n"])),))
                trial = Trial(float(gamma), told["gain"], told["error"], curves, clusters=fact["n"])
                yield Judged(fact["family"], fact["seed"], trial, true)


def table(trials: Sequence[Judged]) -> list[Record]:
    """Return a row for every family, that of the small language model in two."""
    rows = []
    for family in dict.fromkeys(trial.family for trial in trials):
        own = [trial for trial in trials if trial.family == family]
        parts = {"all": own}
        if family in CHOSEN_BY:
            parts["chosen by"] = [trial for trial in own if trial.seed in CHOSEN_BY[family]]
            parts["fresh"] = [trial for trial in own if trial.seed not in CHOSEN_BY[family]]
        rows += [_row(family, name, part) for name, part in parts.items()]
    return rows


def _row(family: str, seeds: str, trials: Sequence[Judged]) -> Record:
    return {
        "family": family,
        "seeds": seeds,
        "trials": len(trials),
        "held": round(fmean(trial.held for trial in trials), 3),
        "held_by_normal": round(fmean(trial.held_by_normal for trial in trials), 3),
        "bias": round(fmean(trial.trial.gain - trial.true for trial in trials), 4),
    }


if __name__ == "__main__":
    rows = table(list(judged(json.loads(RUNS.read_text()))))
    records.write(RESULTS, rows)
    print("\n".join(map(str, rows)))
