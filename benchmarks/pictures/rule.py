"""Does the step that pictures choose draw nearer to pictures nobody trained on than the step of the loss does?

For every set: surrogates, runs to the end of their look-ahead, on the references alone and with random backbone data,
and at each kept step what the rule sees and how near drawings of the held-out captions come to their pictures, by an
encoder that shares nothing with the backbone. Resumable: whatever is done is kept. `python -m benchmarks.pictures.rule
--help` says the rest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmarks import emoji
from benchmarks.arms import result_of
from benchmarks.pictures.sets import UNRELATED
from benchmarks.presets.encoder import features
from benchmarks.records import file_of, write
from benchmarks.statistics import cluster
from benchmarks.world import Setting, World
from core.method.albat import train_adapter, train_surrogate
from core.method.backbones.backbone import count, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.lora.adapter import Adapter, from_stack
from core.method.protection.protection import NONE, Protection
from core.method.stopping.evidence import Evidence, SurrogateCurves
from core.method.stopping.matched_loss import MatchedLoss
from core.method.stopping.picture_evidence import Pictures, choose, judge_pictures
from core.method.stopping.rule import Evaluation
from core.method.stopping.rules import Auto, stop_rules
from core.method.stopping.window import calibrate_window
from core.method.training.final_run import gallery_steps
from core.parameters.schedule import STYLES, usual_share

Record = dict[str, Any]
RESULTS = Path(__file__).resolve().parents[1] / "results" / "picture_rule.json"
SETS, ARMS = ("cat", "vehicle", "dusk"), ("none", "replay")
REFERENCES, RATE = 4, 2.4e-3  # few and fast: a run has to go to the end of its look-ahead
FOLDS, SURROGATE_STEPS, BUDGET = 2, 120, 420
UNRELATED_DRAWN = 4
SAMPLER_STEPS = 12  # of what is compared with held-out pictures
TRUTH_SEED = 5000  # apart from the seeds of what the rule sees


def main() -> None:
    """Run what is missing and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures.rule", description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"), help="where unfinished results are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    wanted = [Setting("emoji", name, REFERENCES, RATE, seed) for seed in chosen.seeds for name in chosen.sets]
    done = []
    for setting in wanted:
        for arm in chosen.arms:
            done.append(_Experiment(setting, arm, chosen.work).record())
            write(chosen.results, done)
    print(f"{len(done)} runs: {chosen.results}")


@dataclass(frozen=True)
class _Experiment:
    """One set, seed and arm; each part is read from its file where it is done."""

    setting: Setting
    arm: str
    work: Path

    def record(self) -> Record:
        """Return what the set showed, and which step every rule names."""
        run, rows = self._run(), self._rows()
        setting = asdict(self.setting)
        means = {"arm": self.arm, "protect": self.arm, "protect_weight": 1.0, "protect_on": "pool", "gamma": self.gamma}
        named = {**setting, "cluster": cluster(setting), **means, "style": self._style}
        record = {**named, **run, "steps": rows}
        return record | {"chosen": named_steps(record)}

    @cached_property
    def world(self) -> World:
        world = emoji.world(self.setting, self.work)
        update = {"folds": FOLDS, "surrogate_steps": SURROGATE_STEPS, "max_steps": BUDGET, "stop": "max_steps"}
        return replace(world, parameters=world.parameters.model_copy(update=update))

    @cached_property
    def backbone(self) -> DiffusionBackbone:
        assert isinstance(self.world.backbone, DiffusionBackbone)
        return self.world.backbone

    @property
    def _style(self) -> bool:
        return emoji.pictures_of(self.setting.set).kind in STYLES

    @property
    def gamma(self) -> float:
        """Return the share of the batch slots that replay random backbone data: what a job of this kind starts with."""
        return usual_share("style" if self._style else "subject") if self.arm == "replay" else 0.0

    def _protection(self) -> Protection:
        if not self.gamma:
            return NONE
        order = torch.randperm(count(self.world.pool), generator=torch.Generator().manual_seed(self.setting.seed))
        replayed = take(self.world.pool, order[: self.world.parameters.selected_count])
        return Protection.by("replay", 1.0, self.gamma, replayed)

    def _file(self, part: str) -> Path:
        file = file_of(self.work / "picture-rule", self.setting)
        return file.with_name(f"{file.stem}_{part}")

    def _curves(self) -> SurrogateCurves:
        file = self._file("surrogates.json")
        if not file.is_file():
            found = result_of(train_surrogate(self.backbone, self.world.references, self.world.parameters))
            write(file, asdict(found.curves))
        return SurrogateCurves(**json.loads(file.read_text()))

    def _run(self) -> Record:
        """Train to the end of the look-ahead; keep the copies that a job would show, and say where it would end."""
        file = self._file(f"{self.arm}_run.json")
        if not file.is_file():
            evidence = self._curves().evidence()
            assert evidence is not None
            run = _Run(self.world, evidence, self.gamma)
            copies = run.train(self._curves(), self._protection())
            tensors = {f"{step} {name}": tensor for step, copy in copies.items() for name, tensor in _named(copy)}
            save_file(tensors, self._file(f"{self.arm}_copies.safetensors"))
            write(file, run.facts())
        found: Record = json.loads(file.read_text())
        return found

    def _copies(self) -> dict[int, Adapter]:
        parts: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in load_file(self._file(f"{self.arm}_copies.safetensors")).items():
            step, _, name = key.partition(" ")
            parts.setdefault(int(step), {})[name] = tensor
        p = self.world.parameters
        return {step: from_stack(tensors, p.rank, p.alpha) for step, tensors in sorted(parts.items())}

    def _rows(self) -> list[Record]:
        """Draw what is missing, step by step, and return what every step showed."""
        file = self._file(f"{self.arm}_pictures.json")
        rows: list[Record] = json.loads(file.read_text()) if file.is_file() else []
        copies = self._copies()
        missing = [step for step in copies if step not in {row["step"] for row in rows}]
        if missing:
            for row in self._drawn(copies, missing):
                rows.append(row)
                write(file, rows)
        return sorted(rows, key=lambda row: row["step"])

    def _drawn(self, copies: Mapping[int, Adapter], steps: Sequence[int]) -> Iterator[Record]:
        setting, backbone = self.setting, self.backbone
        shown, held_out = emoji.pictures_of(setting.set).split(setting.n, emoji.HELD_OUT, setting.seed)
        truth = _Truth(backbone, held_out, TRUTH_SEED + setting.seed)
        prompts, references = [str(item["caption"]) for item in shown], [item["image"] for item in shown]
        beside = UNRELATED[:UNRELATED_DRAWN]
        judging = judge_pictures(
            backbone, copies, steps, prompts, beside, references, seed=setting.seed, style=self._style
        )
        before: list[Image.Image] = []
        for one in judging:
            unrelated = [picture for _, picture in one.unrelated]
            if one.step == 0:
                before = unrelated
                continue
            row = {"similarity": one.similarity, "swallowed": one.swallowed, "content": one.content}
            row["distance"] = truth.distance(copies[one.step].to(backbone.device))
            row["unrelated_moved"] = _apart(features(unrelated), features(before))
            yield {"step": one.step, **{name: round(value, 5) for name, value in row.items()}}


class _Run:
    """One run to the end of its look-ahead, as the rules of a job see it."""

    def __init__(self, world: World, evidence: Evidence, gamma: float) -> None:
        self.world, self.gamma, p, stretch = world, gamma, world.parameters, 1 / (1 - gamma)
        self.window = calibrate_window(evidence.best_step * evidence.scale * stretch, p.max_steps)
        rules = stop_rules(
            evidence,
            self.window.evaluations,
            p.max_steps,
            learning_rate=p.learning_rate,
            semantics=p.cs_semantics,
            stretch=stretch,
        )
        auto, matched = rules["auto"], rules["matched_loss"]
        assert isinstance(auto, Auto)
        assert isinstance(matched, MatchedLoss)
        self.auto, self.matched = auto, matched
        self.ended: int | None = None  # by CS-Fluctuation
        self.last = 0

    def train(self, curves: SurrogateCurves, protection: Protection) -> dict[int, Adapter]:
        """Return the copies of the gallery, of the matched step, and of where CS-Fluctuation would end the run."""
        p, backbone, references = self.world.parameters, self.world.backbone, self.world.references
        kept: dict[int, Adapter] = {}
        gallery = gallery_steps(self.matched, p.max_steps)
        snapshots: dict[int, Adapter] = {}
        for step in train_adapter(backbone, references, protection, p, curves, None, snapshots):
            if step.similarity is None and step.reference_loss is None:
                continue  # nothing that a rule would see
            self.last = step.step
            evaluation = Evaluation(step.step, step.similarity, step.reference_loss)
            self.auto.update(evaluation)
            self.matched.update(evaluation)
            turned = self.ended is None and self.auto.ended_by_turning
            if turned:
                self.ended = step.step
            over = self.matched.stopped and self.last >= self.matched.horizon
            if step.step and (step.step in gallery or step.step == self.matched.step or turned or over):
                kept[step.step] = snapshots[step.step].clone()
            if over:
                break
        return kept

    def facts(self) -> Record:
        """Return where the rules would have stopped."""
        detector = self.auto.turning.detector
        return {
            "horizon": self.last,
            "matched_step": self.matched.published_step,
            "turning_point": self.auto.turning.turning_point,
            "informative": detector.informative,
            "ended_by_turning": self.ended,
        }


class _Truth:
    """How near drawings of the held-out captions come to their pictures, as a share of before training."""

    def __init__(self, backbone: DiffusionBackbone, held_out: Sequence[Mapping[str, Any]], seed: int) -> None:
        self.backbone, self.seed = backbone, seed
        self.captions = [str(item["caption"]) for item in held_out]
        self.pictures = features([item["image"] for item in held_out])
        self.before = _apart(self._seen(None), self.pictures)

    def distance(self, adapter: Adapter) -> float:
        """Return the mean distance of each drawing from the picture of its caption; 1 before training."""
        return _apart(self._seen(adapter), self.pictures) / self.before

    def _seen(self, adapter: Adapter | None) -> torch.Tensor:
        with self.backbone.lora.use(adapter):
            return features(self.backbone.sample(self.captions, seed=self.seed, steps=SAMPLER_STEPS))


def named_steps(record: Record) -> dict[str, int]:
    """Return the step that every rule names; the pictures' is chosen anew from what was measured of each."""
    steps = record["steps"]
    found = {"matched loss": record["matched_step"], "pictures": _by_pictures(record, record["horizon"])}
    ended = record["ended_by_turning"] or record["horizon"]
    found |= {"pictures, ended by CS-Fluctuation": _by_pictures(record, ended), "last": record["horizon"]}
    return found | {"oracle": min(steps, key=lambda row: float(row["distance"]))["step"]}


def _by_pictures(record: Record, ended: int) -> int:
    """Return the step that the pictures choose of those up to the end of the run."""
    shown = [
        Pictures(row["step"], (), (), row["similarity"], row["swallowed"], 0.0, row["content"])
        for row in record["steps"]
        if row["step"] <= ended
    ]
    chosen = choose(shown, record["matched_step"], style=record["style"]).published_step
    return int(record["matched_step"] if chosen is None else chosen)


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the mean cosine distance of features of unit length, pair by pair."""
    return float(1 - (one * other).sum(1).mean())


def _named(adapter: Adapter) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in adapter.tensors().items():
        yield name, tensor.cpu().contiguous()


if __name__ == "__main__":
    main()
