"""A job run through the command line of any checkout, and what it leaves behind: its steps, its words, its choice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.presets.conversions import PREFIX
from benchmarks.presets.judging import Phrase
from benchmarks.presets.sets import PresetSet
from core.backbones.families import Kind
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter, from_tensors

BACKBONES: Mapping[Kind, str] = {"images": "emoji-ldm", "texts": "smollm2-135m"}
Json = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """What is trained where: a checkout of the code, a set, a seed and settings as in the API."""

    tree: Path
    chosen: PresetSet
    out: Path
    seed: int
    bat: Json
    data: Path

    def command(self, references: Path) -> list[str]:
        """Return the command line of the job."""
        given = ["--backbone", BACKBONES[self.chosen.kind], "--references", str(references), "--out", str(self.out)]
        given += ["--seed", str(self.seed), "--bat", json.dumps(self.bat), "--data", str(self.data)]
        return [sys.executable, "-m", "worker.commands.train", *given]


def run(order: Order) -> Job:
    """Run the job to its end, or return it where it has ended already; raises RuntimeError with its last words."""
    if (order.out / "report.json").is_file():
        return Job(order.out, order.chosen)
    order.out.mkdir(parents=True, exist_ok=True)
    references = order.chosen.write(order.out.parent / "references" / order.chosen.name)
    environment = {**os.environ, "PYTHONPATH": str(order.tree), "OMP_NUM_THREADS": "1", "ALBATROSS_THREADS": "1"}
    with (order.out / "log.txt").open("w") as log:
        done = subprocess.run(
            order.command(references), cwd=order.tree, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    if done.returncode:
        last = (order.out / "log.txt").read_text()[-2000:]
        raise RuntimeError(f"The job of {order.chosen.name} failed: {last}")
    return Job(order.out, order.chosen)


@dataclass(frozen=True)
class Job:
    """A finished job in its output folder, whatever version of the code has written it."""

    out: Path
    chosen: PresetSet

    @cached_property
    def spec(self) -> Json:
        """What its stages knew: parameters and backbone."""
        content: Json = json.loads((self.out / "work" / "spec.json").read_text())
        return content

    @cached_property
    def report(self) -> Json:
        """What it told."""
        content: Json = json.loads((self.out / "report.json").read_text())
        return content

    @property
    def published(self) -> int:
        """The step that was published in the end, after pictures or validity had their say."""
        return int(self.report["published_step"])

    @property
    def steps(self) -> list[int]:
        """The steps of which a copy was kept, from early to late."""
        files = (self.out / "work" / "train" / "snapshots").glob("step-*.safetensors")
        return sorted(int(file.stem.removeprefix("step-")) for file in files)

    def adapter(self, step: int) -> Adapter:
        """Return the copy of a step."""
        p = self.spec["parameters"]
        tensors = load_file(self.out / "work" / "train" / "snapshots" / f"step-{step:05d}.safetensors")
        return from_tensors(tensors, p["rank"], p["alpha"])

    def backbone(self) -> DiffusionBackbone | LanguageBackbone:
        """Load the backbone with the places for adapters that the job used."""
        record, p = self.spec["backbone"], self.spec["parameters"]
        path, targets = Path(record["path"]), record["target_modules"]
        if self.chosen.kind == "images":
            return DiffusionBackbone.load(path, resolution=p["resolution"], target_modules=targets)
        return LanguageBackbone.load(path, max_tokens=p["max_tokens"], target_modules=targets)

    def phrase(self) -> Phrase:
        """Return how this job's adapter is prompted: with its trigger word where its own captions have it."""
        if self.chosen.kind == "texts":
            return str
        lines = (self.out / "work" / "references" / "items.jsonl").read_text().splitlines()
        caption, words = str(json.loads(lines[0])["caption"]), self.chosen.words[0]
        return like_caption(caption, words, self.spec["parameters"].get("trigger"))


def like_caption(caption: str, words: str, trigger: str | None) -> Phrase:
    """Return prompts made as a caption was made from its owner's words; raises ValueError where it can't be told how.

    A trigger that stands somewhere within the owner's words is put behind the content, joined as it is there.
    """
    before, found, behind = caption.partition(words)
    if found:
        return lambda content: f"{before}{content}{behind}"
    joined = re.search(rf"\W+{re.escape(trigger)}(?!\w)", caption) if trigger else None
    if joined:
        return lambda content: f"{PREFIX}{content}{joined.group()}"
    raise ValueError(f"the caption {caption!r} does not hold {words!r}")
