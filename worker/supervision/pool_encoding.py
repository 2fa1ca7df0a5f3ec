"""The backbone's own data, made and encoded for the jobs of all accounts by a trainer that sees none of them.

A trainer that learns from uploads may only read what others read too: taken over by one of them, it could write pools
that the next account's job takes for the backbone's. So what is not encoded yet is encoded by a trainer of its own,
which is told sizes and nothing that an owner wrote, before the job's trainer begins.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from core.backbones.record import BackboneRecord
from core.disk import hash_file
from core.parameters.parameters import Parameters
from core.parameters.request import BatRequest
from core.parameters.resolving import resolve
from core.parameters.summary import ReferenceSummary
from core.settings import Settings
from core.version import VERSION
from worker.job_folder import JobFolder
from worker.protocol import Json
from worker.supervision import inputs
from worker.trainer import sandbox
from worker.trainer.process import Trainer
from worker.trainer.sandbox import Cage

TELLING = "Encoding the data of {} once, for all jobs of these sizes."
# all of a job's parameters that an encoding depends on, or the memory that it takes
SIZES = ("device_class", "augment", "protect_on", "pool", "resolution", "max_tokens", "precision", "checkpointing")

USUAL_COUNT = 8  # of references, of which there are none: parameters are resolved for some


def kept_apart(settings: Settings) -> bool:
    """Tell whether trainers of jobs can't write the pools that all read."""
    return not settings.share_trainers and sandbox.active(settings)


@dataclass(frozen=True)
class PoolEncoding:
    """What a job needs encoded of its backbone's data."""

    record: BackboneRecord
    parameters: Parameters
    day: date
    settings: Settings

    @property
    def missing(self) -> bool:
        """Tell whether another trainer has to encode it before the job's own, which could not keep it for others."""
        built_in = self.settings.trainer is None  # of another one nobody knows what it keeps
        return built_in and self._needed and kept_apart(self.settings) and not self._ready()

    @property
    def _needed(self) -> bool:
        p = self.parameters
        return self.record.pool is not None or p.generates or (p.augment and p.protect_on == "own")

    @contextmanager
    def trainer(self) -> Iterator[Trainer]:
        """Start a trainer that encodes it and keeps it for all; it ends with the block."""
        cage = Cage.of_process(self.settings, "encoding", pools=True)
        folder = JobFolder(cage.work / "job")
        folder.write_spec(self.specification())
        trainer = Trainer(self.settings, cage)
        try:
            trainer.run(folder.path)
            yield trainer
        finally:
            trainer.kill()
            shutil.rmtree(cage.work, ignore_errors=True)

    def specification(self) -> Json:
        """Return what its trainer is told, as spec.json holds it."""
        sizes = {name: getattr(self.parameters, name) for name in SIZES}
        summary = ReferenceSummary(kind=self.record.kind, count=USUAL_COUNT)
        usual = resolve(
            BatRequest(), None, backbone=self.record, summary=summary, device_class=self.parameters.device_class, seed=0
        )
        parameters = usual.model_copy(update=sizes | {"protect": self.parameters.protect})
        spec = inputs.specification(self.record, parameters, self.settings, None, self.day)
        return spec | {"ready": str(self._note)}

    def _ready(self) -> bool:
        try:
            told = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return False
        files = [self._note.parent / name for name in told["files"]]
        return told["day"] in (None, self.day.isoformat()) and all(file.is_file() for file in files)

    @property
    def _note(self) -> Path:
        """The file that says what is encoded; another backbone, pool, size or version of ours is another one."""
        pool, digest = self.record.pool, ""
        if pool is not None:
            index = pool if pool.is_file() else pool / "index.jsonl"
            digest = hash_file(index) if index.is_file() else ""
        sizes = [getattr(self.parameters, name) for name in SIZES]
        key = hashlib.sha256(json.dumps([VERSION, self.record.revision, digest, *sizes]).encode()).hexdigest()[:16]
        return self.settings.data / "pools" / f"{self.record.id}-ready-{key}.json"
