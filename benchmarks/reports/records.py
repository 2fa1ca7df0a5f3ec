"""What a job left behind, as the checker reads it: files and their numbers, and none of the code that wrote them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.reports.curves import Curves, Fluctuation

Json = Any  # what a file holds is known only to whoever reads it


@dataclass(frozen=True)
class Records:
    """One finished job in its output folder; `presets` are the folders whose TOML files hold presets."""

    out: Path
    presets: tuple[Path, ...]

    def read(self, name: str) -> Json:
        """Return the content of a JSON file, None where there is none."""
        file = self.out / name
        return json.loads(file.read_text()) if file.is_file() else None

    @cached_property
    def report(self) -> Json:
        return self.read("report.json")

    @cached_property
    def p(self) -> Json:
        """Return the parameters of the job."""
        return self.read("work/spec.json")["parameters"]

    @cached_property
    def backbone(self) -> Json:
        return self.read("work/spec.json")["backbone"]

    @cached_property
    def decision(self) -> Json:
        return self.read("work/score/decision.json")

    @cached_property
    def influence(self) -> Json:
        return self.read("work/score/influence.json")

    @cached_property
    def mixture(self) -> Json:
        return self.read("work/trial/mixture.json")

    @cached_property
    def outcome(self) -> Json:
        """Return what training came to, before samples had their say."""
        return self.read("work/train/outcome.json")

    @cached_property
    def samples(self) -> Json:
        return self.read("samples.json")

    @cached_property
    def messages(self) -> Json:
        return self.read("messages.json") or []

    @cached_property
    def curve(self) -> dict[int, Json]:
        """Return the rows of the final run, by step."""
        return {row["step"]: row for row in self.read("work/train/curve.json")}

    @cached_property
    def surrogates(self) -> Curves:
        """Return the curves of the surrogates that saw references alone."""
        return Curves.of(self.read("work/surrogate/curves.json"))

    @cached_property
    def tried(self) -> Curves | None:
        """Return the curves of the surrogates that trained on the mixture; None where it was not tried."""
        stored = self.read("work/trial/curves.json")
        return Curves.of(stored) if stored else None

    @property
    def followed(self) -> Curves:
        """Return the curves that the final run went by: those of the mixture where it was used."""
        return self.tried if self.tried is not None and self.gamma else self.surrogates

    @property
    def gamma(self) -> float:
        return float(self.mixture["gamma"])

    @property
    def mixed(self) -> float:
        """Return the share of slots that hold what protects: selected candidates, own samples or unrelated captions."""
        return self.gamma if self.decision["selected"] or self.decision.get("count") else 0.0

    @cached_property
    def items(self) -> list[Json]:
        """Return the references as they were trained on."""
        return [json.loads(line) for line in (self.out / "work/references/items.jsonl").read_text().splitlines()]

    @property
    def names(self) -> list[str]:
        return [row["name"] for row in self.read("work/prepare/references.json")]

    @property
    def published(self) -> int:
        return int(self.report["published_step"])

    @property
    def last(self) -> int:
        return max(self.curve)

    @property
    def budget(self) -> int:
        """Return the run's budget: one that was not asked for grows, so that references are seen as often."""
        steps = self.p["max_steps"]
        mixed = self.mixed
        return math.ceil(steps / (1 - mixed) - 1e-9) if "max_steps" in self.p["reasons"] else int(steps)

    def level(self, step: int) -> float:
        """Return the loss on the references at a step, as a share of that before training."""
        return float(self.curve[step]["reference_loss"] / self.curve[0]["reference_loss"])

    @cached_property
    def fluctuation(self) -> Fluctuation:
        """Return CS-Fluctuation of the run, computed anew."""
        shown = [(step, row["cosine_similarity"]) for step, row in sorted(self.curve.items()) if _similar(row)]
        window = self.report["window"]["evaluations"]
        return Fluctuation.of(shown, window, self.p["learning_rate"], self.p["cs_semantics"] == "released")

    def kept(self) -> list[int]:
        """Return the steps of which a copy was kept."""
        return sorted(row["step"] for row in self.read("manifest.json")["checkpoints"])


def _similar(row: Json) -> bool:
    return row.get("cosine_similarity") is not None and row["step"] > 0
