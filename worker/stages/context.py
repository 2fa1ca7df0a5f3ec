"""What the stages of one job share: its parameters, its backbone (kept loaded between jobs) and its encoded data."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file

from core.backbones.record import BackboneRecord
from core.method.backbones import probing
from core.method.backbones.backbone import Batch, count, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.objective import Ddpm
from core.method.backbones.precision import float_type
from core.method.backbones.profiler import Profiler
from core.method.backbones.texts import cutting
from core.method.backbones.texts.language import LanguageBackbone
from core.method.backbones.texts.template import DAY
from core.method.formats.peft import task_type
from core.method.lora.adapter import PREFIX, Adapter, from_stack, from_tensors
from core.parameters.parameters import Parameters
from core.parameters.protection.means import Probed
from core.parameters.schedule import PROBE_EXAMPLES
from worker.job_folder import JobFolder, checkpoint_file
from worker.protocol import Line, Progress, Saved
from worker.stages import pool as pools
from worker.stages.protection import lots
from worker.stages.saves import StageKeeper

_loaded: dict[str, DiffusionBackbone | LanguageBackbone] = {}
TIMED_CALLS = 20
PARTS_OF_PREPARING = 3  # beside the samples that a backbone makes for it
REFERENCES = "references.safetensors"  # of the prepare stage
SHAPES_FILE = "shapes.json"  # of the prepare stage: width and height of each, the commonest first
KIN_FILE = "kin.json"  # of the prepare stage: a group number for every reference
KNOWN_FILE = "known.json"  # of the prepare stage: which of the pool are references or validation data
PROBE_FILE = "probe.safetensors"  # of the prepare stage: held-out samples of the backbone's own, where no pool has any
PROMPTS_FILE = "prompts.safetensors"  # of the prepare stage: what the prompts say that later stages draw
Step = TypeVar("Step")
Result = TypeVar("Result")


class Context:
    """One job as its stages see it."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.spec = folder.spec()
        self.p = Parameters.model_validate(self.spec["parameters"])
        self.record = BackboneRecord.model_validate(self.spec["backbone"])
        self.profiler = Profiler()  # of all that is computed for this job
        self.memory_news = list[str]()  # that nobody was told yet
        self._generated: pools.Pool | None = None
        self.made = 0  # samples of the backbone's own that are there since preparing had to wait for them
        torch.manual_seed(self.p.seed)

    @property
    def backbone(self) -> DiffusionBackbone | LanguageBackbone:
        """The backbone, loaded by the first job that needs it and kept for the next."""
        p, device = self.p, str(self.spec["device"])
        key = f"{self.record.id} {self.record.revision} {self.record.path} {device} {p.resolution} {p.max_tokens}"
        key += f" {p.precision} {p.checkpointing}"
        if key not in _loaded:
            _loaded.clear()  # two do not fit a GPU
            with self.profiler.timed("load", 1):
                _loaded[key] = self._load(device)
        if _loaded[key].profiler is not self.profiler:
            self._hand_over(_loaded[key])
        backbone = _loaded[key]
        if isinstance(backbone, DiffusionBackbone):
            backbone.drawn_size = self.shapes[0]
        if backbone.lora.left_out is None and (self.folder.stage("prepare") / REFERENCES).is_file():
            probing.leave_out_dead(backbone, self.references())
        return backbone

    def _hand_over(self, backbone: DiffusionBackbone | LanguageBackbone) -> None:
        """Let a backbone that another job may have used before serve this one."""
        backbone.profiler = self.profiler
        backbone.memory.begin(int(self.spec.get("device_memory_bytes", 0)), self.memory_news)
        if isinstance(backbone, DiffusionBackbone):
            file = self.folder.stage("prepare") / PROMPTS_FILE
            if isinstance(backbone.objective, Ddpm):
                backbone.objective.min_snr = self.p.min_snr
            backbone.prompts.forget()
            if file.is_file():
                backbone.prompts.read(file)
        else:
            backbone.rendering.day = self.day

    @property
    def day(self) -> date:
        """The day that a chat template is told of which writes today's date: the job's, whenever it goes on."""
        told = self.spec.get("day")
        return date.fromisoformat(told) if told else DAY

    def _load(self, device: str) -> DiffusionBackbone | LanguageBackbone:
        p, record = self.p, self.record
        options: Any = {"target_modules": record.target_modules, "device": device}
        options |= {"precision": p.precision, "checkpointing": p.checkpointing}
        if record.kind == "images":
            assert p.resolution is not None
            options |= {"form": record.form, "variant": record.variant}
            backbone = DiffusionBackbone.load(record.path, resolution=p.resolution, **options)
            backbone.draw_as(record.defaults)
            return backbone
        assert p.max_tokens is not None
        return LanguageBackbone.load(record.path, max_tokens=p.max_tokens, **options)

    def encoding(self) -> AbstractContextManager[object]:
        """Keep text encoders in memory for a block: what other stages need of them is written down."""
        backbone = self.backbone
        return backbone.encoding() if isinstance(backbone, DiffusionBackbone) else nullcontext()

    def prepared(self, parts: int, samples: int | None = None, eta_seconds: float | None = None) -> Progress:
        """Say how far preparing is: samples that it has to wait for, `samples` in all, come before its own parts."""
        total = (self.made if samples is None else samples) + PARTS_OF_PREPARING
        return Progress("prepare", self.made + parts, total, eta_seconds)

    def keeper(self, stage: str) -> StageKeeper:
        """What saves the stage on its way."""
        return StageKeeper(self.folder, stage, float(self.spec["save_seconds"]))

    @cached_property
    def data(self) -> pools.Pool | None:
        """The backbone's own data, where it has some here."""
        return pools.load(self.record)

    @property
    def pool(self) -> pools.Pool | None:
        """What may be replayed, and the probe, which is watched also by jobs that replay nothing."""
        if not self.p.generates:
            return self.data
        self._generated = self._generated or lots.generated(Path(self.spec["pools"]), self.p, self.record, self.data)
        return self._generated or lots.without_candidates(self.data)

    def encoded_pool(self, split: str) -> Batch:
        """The encoding of the pool's candidates, or of its probe."""
        assert self.pool is not None
        items = self.pool.candidates if split == "candidate" else self.pool.probe
        return pools.encode(self.backbone, items, self.pool_file(split))

    @property
    def dated(self) -> bool:
        """Tell whether the chat template writes today's date."""
        return isinstance(self.backbone, LanguageBackbone) and self.backbone.rendering.template.dated

    def pool_file(self, split: str) -> Path:
        """Where the encoding of the pool's candidates is, or will be kept, or that of its probe."""
        assert self.pool is not None
        return self.encoding_file(self.pool, split)

    def encoding_file(self, pool: pools.Pool, split: str) -> Path:
        """Where an encoding is, or will be kept: for all jobs, or for this one where its trainer may not do that."""
        detail = f"{self.p.resolution} {self.p.max_tokens}"
        if self.record.kind == "texts":
            detail += f" cut {cutting.VERSION}"
            if self.dated:
                detail += f" {self.day}"
        elif float_type(self.p.precision, self.p.device_class) != float_type(None, self.p.device_class):
            detail += f" {self.p.precision}"  # the encoders compute in it too
        places = [Path(str(self.spec["pools"])), Path(str(self.spec.get("own_pools", self.spec["pools"])))]
        for_all, own = (pools.cache_file(place, self.record, pool, split, detail) for place in places)
        return for_all if for_all.is_file() else own

    @property
    def square(self) -> tuple[int, int]:
        """Width and height of the square that pictures have without other shapes, and candidates always."""
        side = self.p.resolution or 0
        return side, side

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shapes that pictures are trained in, the commonest first; before they are chosen the square."""
        file = self.folder.stage("prepare") / SHAPES_FILE  # not there in a job of an older version
        rows = json.loads(file.read_text()) if file.is_file() else []
        return tuple((int(width), int(height)) for width, height in rows) or (self.square,)

    def references(self) -> Batch:
        """The encoded references."""
        return load_file(self.folder.stage("prepare") / REFERENCES)

    @cached_property
    def kin(self) -> list[int] | None:
        """A group number for every reference, kin sharing one; None in a job of an older version."""
        file = self.folder.stage("prepare") / KIN_FILE
        return json.loads(file.read_text()) if file.is_file() else None

    def known(self, split: str) -> list[int]:
        """The places of the pool's candidates, or of its probe, that are references or validation data."""
        file = self.folder.stage("prepare") / KNOWN_FILE
        return json.loads(file.read_text())[split] if file.is_file() else []

    @property
    def probed_on(self) -> Probed | None:
        """Where the probe comes from; None where there is none."""
        if self.pool is not None and self.pool.probe:
            return "pool" if self.data is not None and self.data.probe else "own"
        return "own" if (self.folder.stage("prepare") / PROBE_FILE).is_file() else None

    def probe(self) -> Batch | None:
        """The encoded backbone data that are never trained on nor sent, on which forgetting shows."""
        if self.pool is None or not self.pool.probe:
            return load_file(self.folder.stage("prepare") / PROBE_FILE) if self.probed_on else None
        whole, known = self.encoded_pool("probe"), set(self.known("probe"))
        places = [place for place in range(count(whole)) if place not in known][:PROBE_EXAMPLES]
        return take(whole, torch.tensor(places)) if places else None

    def heldout(self) -> Batch | None:
        """The encoded validation file, where the user gave one."""
        file = self.folder.stage("prepare") / "heldout.safetensors"
        return load_file(file) if file.is_file() else None

    def keep(self, snapshots: Mapping[int, Adapter], folder: Path) -> None:
        """Write copies of the adapter, each under peft's own names, so that a user can load any of them.

        One that was kept on the way is the same file.
        """
        (folder / "snapshots").mkdir(parents=True)
        for step, adapter in snapshots.items():
            os.link(self.keep_step(step, adapter), folder / checkpoint_file(step))

    def keep_step(self, step: int, adapter: Adapter) -> Path:
        """Write a copy where kept steps lie while it trains, unless it lies there; returns the file."""
        file = self.folder.kept / checkpoint_file(step)
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            metadata = {"format": "pt", "step": str(step), "alpha": f"{adapter.alpha:g}", **self._base()}
            draft = file.with_suffix(".tmp")
            save_file(self.backbone.lora.tensors(adapter, PREFIX), draft, metadata=metadata)
            draft.rename(file)
        return file

    def _base(self) -> dict[str, str]:
        """Say what a kept step belongs to, in the words of peft's configuration."""
        task, record = task_type(self.backbone), self.record
        told = {"backbone": record.id, "base_model_name_or_path": record.public_name}
        return told | ({"task_type": task} if task else {})

    def checkpoint(self, step: int) -> Adapter:
        """Read the copy of the adapter that training kept at the step, on the CPU."""
        tensors = load_file(self.folder.stage("train") / checkpoint_file(step))
        return from_tensors(tensors, self.p.rank, self.p.alpha)

    def read(self, stage: str, name: str) -> Any:
        """Read a JSON file of a finished stage."""
        return json.loads((self.folder.stage(stage) / name).read_text())


class ProgressClock:
    """Counts steps and says how long the rest will take, from the time that the last of them took."""

    def __init__(
        self, stage: str, total: int, clock: Callable[[], float] = time.monotonic, keeper: StageKeeper | None = None
    ) -> None:
        self.stage, self.total, self._clock = stage, total, clock
        self._seen = [(clock(), 0)]
        self._keeper = keeper

    def at(self, step: int, total: int | None = None) -> Progress:
        """Return the stage's progress after `step` steps; a call may be several steps after the last."""
        self.total = total or self.total
        if self._keeper is not None and self._keeper.resumed:  # the steps so far were not done in this process
            self._seen, self._keeper.resumed = [(self._clock(), step)], False
        self._seen = [*self._seen, (self._clock(), step)][-TIMED_CALLS - 1 :]
        (first, before), (last, _) = self._seen[0], self._seen[-1]
        eta = round((last - first) * (self.total - step) / (step - before), 1) if step > before else None
        return Progress(self.stage, step, self.total, eta)


def driven(
    steps: Generator[Step, None, Result], lines: Callable[[Step], Iterable[Line]], keeper: StageKeeper | None = None
) -> Generator[Line, None, Result]:
    """Drive a generator of the method: yield lines about each of its steps, and return what it returns.

    Where its `keeper` has saved something, a line tells; a stop between two lines of a step leaves that step saved.
    """
    with closing(steps):  # so that it ends with the stage, also when that is cancelled
        while True:
            try:
                step = next(steps)
            except StopIteration as done:
                return done.value
            yield from lines(step)
            if keeper is not None and keeper.news():
                yield Saved(keeper.stage)


def write_stack(adapter: Adapter, file: Path) -> None:
    """Write a stack of adapters to one safetensors file."""
    save_file({name: tensor.cpu().contiguous() for name, tensor in adapter.tensors().items()}, file)


def read_stack(file: Path, rank: int, alpha: float) -> Adapter:
    """Read what `write_stack` wrote."""
    return from_stack(load_file(file), rank, alpha)
