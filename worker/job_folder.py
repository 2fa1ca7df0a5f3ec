"""The job folder: what a job reads and writes on a worker's disk. A stage is done when its done.json verifies.

spec.json       parameters, backbone, seed: all that the stages need to know
saves/          where the stage in work stood when it last saved itself, newest last
kept/           the steps that training has kept so far, each to be stored at once
live/           what the steps that training has kept so far draw or write, for its owner to look at
temporary/      the trainer's temporary files; pools/ the encoded pools that it could not find ready
source/         of a job that publishes a kept step of another: the card and the samples of that one
incoming/       uploads as they were stored, until they are read
references/     the references as core.references.packing leaves them; validation/ likewise, if there is any
prepare/ surrogate/ score/ trial/ train/ export/    what each stage wrote, with done.json naming every file and its hash
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from core.disk import hash_file, opened_within, place, sync_tree, write_whole
from core.parameters.schedule import SOURCE, STAGES
from core.runtime import removal
from worker.protocol import Json

DONE = "done.json"
SAVES = "saves"
LIVE = "live"
KEPT = "kept"
STEP_FILE = re.compile(r"train/snapshots/step-(\d{5,9})\.safetensors")
MAX_NOTE = 64 << 20  # bytes of JSON that are read of a folder
SAVES_KEPT = 2  # the newest, and the one before it in case the newest is damaged


@dataclass(frozen=True)
class FileFact:
    """A file of a stage, by its path inside the stage's folder."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class JobFolder:
    """One attempt at one job, on disk."""

    path: Path

    @property
    def references(self) -> Path:
        """Where the references lie."""
        return self.path / "references"

    @property
    def incoming(self) -> Path:
        """Where stored uploads lie until they are read."""
        return self.path / "incoming"

    @property
    def kept(self) -> Path:
        """Where kept steps lie while it trains."""
        return self.path / KEPT

    @property
    def live(self) -> Path:
        """Where samples lie that are shown while the job trains."""
        return self.path / LIVE

    @property
    def source(self) -> Path:
        """Where that lies which is taken over from another job whose kept step is published."""
        return self.path / SOURCE

    @property
    def temporary(self) -> Path:
        """Where the trainer's temporary files go."""
        return self.path / "temporary"

    @property
    def pools(self) -> Path:
        """Where the trainer keeps the encoded pools that are not there for all."""
        return self.path / "pools"

    @property
    def validation(self) -> Path:
        """Where the owner's validation data lie, if there are any."""
        return self.path / "validation"

    def stage(self, name: str) -> Path:
        """Where a finished stage lies."""
        return self.path / name

    def write_spec(self, spec: object) -> None:
        """Write what the stages need to know."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "spec.json", json.dumps(spec, indent=1, allow_nan=False).encode())

    def spec(self) -> Json:
        """Read what `write_spec` wrote."""
        return self.read("spec.json")

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Give a path to one of its files; raises as core.disk.opened_within.

        The trainer may write here at any time, and what reads it may read and write more than a trainer may.
        """
        with opened_within(self.path.parent, f"{self.path.name}/{name}") as path:
            yield path

    def read(self, name: str) -> Json:
        """Read a JSON object; raises ValueError where it is none, or so large that it is no note of ours."""
        with self.opened(name) as path:
            if path.stat().st_size > MAX_NOTE:
                raise ValueError("a note is too large")
            found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("a note is not an object")
        return found

    def move(self, place: JobFolder) -> None:
        """Become the folder at another place, whatever is there."""
        place.remove()
        place.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.rename(place.path)

    @contextmanager
    def writing(self, stage: str) -> Iterator[Path]:
        """Give an empty folder that becomes the stage's folder, complete and on disk, when the block ends well."""
        draft = self.path / f"{stage}.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        seal(draft)
        shutil.rmtree(self.stage(stage), ignore_errors=True)
        place(draft, self.stage(stage))

    def done(self, stage: str) -> bool:
        """Tell whether the stage's folder is whole: every file of done.json is there with its hash."""
        try:
            facts = self.facts(stage)
            return all(self.fact(stage, fact.name) == fact for fact in facts)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def facts(self, stage: str) -> list[FileFact]:
        """List the files of a finished stage or a save; raises ValueError for a name that leads out of its folder."""
        facts = [FileFact(**row) for row in self.read(f"{stage}/{DONE}")["files"]]
        for fact in facts:
            with self.opened(self._within(stage, fact.name)):
                pass
        return facts

    def fact(self, stage: str, name: str) -> FileFact:
        """Measure a file of a stage or a save."""
        with self.opened(self._within(stage, name)) as path:
            return FileFact(name, hash_file(path), path.stat().st_size)

    def _within(self, stage: str, name: str) -> str:
        # a name that is written in another way would be another one in the store
        plain = isinstance(name, str) and not name.startswith("/") and PurePosixPath(name).as_posix() == name
        if not plain or ".." in PurePosixPath(name).parts:
            raise ValueError("a file leads out of its folder")
        return f"{stage}/{name}"

    def finished(self) -> list[str]:
        """List the stages that are done, in order, up to the first that is not."""
        done: list[str] = []
        for stage in STAGES:
            if not self.done(stage):
                break
            done.append(stage)
        return done

    @contextmanager
    def saving(self, stage: str) -> Iterator[Path]:
        """Give an empty folder that becomes the stage's newest save, whole and on disk, when the block ends well."""
        older = self._saves(stage)
        number = int(older[-1].name.rpartition("-")[2]) + 1 if older else 1
        target = self.path / SAVES / f"{stage}-{number:05d}"
        draft = target.with_suffix(".tmp")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        seal(draft)
        place(draft, target)
        for path in [*older, target][:-SAVES_KEPT]:
            shutil.rmtree(path, ignore_errors=True)

    def saved(self, stage: str) -> Path | None:
        """Return the stage's newest save that is whole; None where there is none."""
        whole = (path for path in reversed(self._saves(stage)) if self.done(f"{SAVES}/{path.name}"))
        return next(whole, None)

    def forget_saves(self) -> None:
        """Erase what stages have saved: the one in work is done."""
        shutil.rmtree(self.path / SAVES, ignore_errors=True)

    def _saves(self, stage: str) -> list[Path]:
        try:
            return sorted(path for path in (self.path / SAVES).glob(f"{stage}-*") if path.suffix != ".tmp")
        except FileNotFoundError:  # a stage that ends forgets its saves while somebody else looks through them
            return []

    def remove(self) -> None:
        """Erase the folder, or what is in its place; references are private."""
        removal.remove(self.path)


def seal(folder: Path) -> None:
    """Write done.json after every file of the folder is safely on disk."""
    paths = sorted(folder.rglob("*"))
    sync_tree(folder)
    files = [path for path in paths if path.is_file() and path != folder / DONE]  # of a folder that has grown
    content = {"files": [asdict(fact_of(folder, path)) for path in files]}
    write_whole(folder / DONE, json.dumps(content, indent=1).encode())


def fact_of(folder: Path, path: Path) -> FileFact:
    """Measure a file."""
    return FileFact(path.relative_to(folder).as_posix(), hash_file(path), path.stat().st_size)


def checkpoint_file(step: int) -> str:
    """Name the file of a kept step inside the train stage's folder, and among those that are kept so far."""
    return f"snapshots/step-{step:05d}.safetensors"


def step_of(name: str) -> int | None:
    """Return the step whose file this is in the train stage's folder; None for another file."""
    found = STEP_FILE.fullmatch(name)
    return int(found[1]) if found else None


def write_json(path: Path, content: object) -> None:
    """Write JSON for people and programs."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_rows(path: Path, rows: Iterable[object]) -> None:
    """Write rows as a JSON list, one a line."""
    path.write_text("[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]\n")
