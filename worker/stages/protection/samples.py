"""Files of what a backbone has made itself: begun and whole ones, read as a pool is."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.disk import write_first, write_whole
from core.method.protection.own import PATIENCE
from core.parameters.schedule import OWN_SAMPLES
from worker.protocol import Json
from worker.stages.pool import Candidate, Pool, candidate

COUNT = OWN_SAMPLES  # pictures or texts that a backbone makes
FEWEST = 16  # with fewer of them nothing is protected
STATE, INDEX = "state.json", "index.jsonl"
ANY_DAY = (1980, 1, 1, 0, 0, 0)  # so that the same samples are the same file


@dataclass(frozen=True)
class Samples:
    """What a backbone has made so far, how many rounds and seconds it took, and how many of the last gave nothing."""

    rows: tuple[Json, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    rounds: int = 0
    in_vain: int = 0
    seconds: float = 0.0
    count: int = COUNT  # that are wanted
    fewest: int = FEWEST  # that are of use

    @property
    def over(self) -> bool:
        """Whether no more are made: there are enough, or hardly any come."""
        return len(self.rows) >= self.count or self.in_vain >= PATIENCE or self.rounds >= self.count

    @property
    def enough(self) -> bool:
        """Whether they are enough to protect with."""
        return len(self.rows) >= self.fewest

    def candidates(self) -> list[Candidate]:
        """Return them as a pool has them."""
        return [candidate(row, self.pictures) for row in self.rows]

    def with_round(self, rows: Sequence[Json], pictures: Mapping[str, bytes], seconds: float) -> Samples:
        """Return them with those of one more round."""
        kept = (*self.rows, *rows)[: self.count]
        in_vain, seconds = 0 if rows else self.in_vain + 1, self.seconds + seconds
        both = {**self.pictures, **pictures}
        return replace(self, rows=kept, pictures=both, rounds=self.rounds + 1, in_vain=in_vain, seconds=seconds)


@dataclass(frozen=True)
class SampleFile:
    """Where a backbone's samples lie: whole, the first that were, so that jobs go on with what they began with."""

    whole: Path
    count: int = COUNT
    fewest: int = FEWEST

    @property
    def begun(self) -> Path:
        """Where they lie until they are whole."""
        return self.whole.with_suffix(".begun")

    @property
    def ready(self) -> bool:
        """Whether they are whole, be they enough or not."""
        return _read(self.whole) is not None

    def so_far(self) -> Samples:
        """Read what an earlier attempt has left; nothing where that is no file of ours."""
        content = _read(self.begun)
        return self._counted(_unpacked(content) if content else Samples())

    def keep(self, samples: Samples) -> None:
        """Write what there is so far."""
        write_whole(self.begun, _packed(samples))

    def finish(self, samples: Samples) -> None:
        """Let these be the samples, unless another trainer was first; how long they took is no part of them."""
        if self.whole.exists() and not self.ready:
            self.whole.unlink(missing_ok=True)
        write_first(self.whole, _packed(replace(samples, seconds=0.0)))
        self.begun.unlink(missing_ok=True)

    def read(self) -> Pool | None:
        """Return the whole samples as a pool without a probe; None where there are none, or too few to protect with."""
        content = _read(self.whole)
        if content is None or not (samples := self._counted(_unpacked(content))).enough:
            return None
        return Pool(tuple(samples.candidates()), (), hashlib.sha256(content).hexdigest())

    def _counted(self, samples: Samples) -> Samples:
        return replace(samples, count=self.count, fewest=self.fewest)


def quarter(made: Pool) -> list[int]:
    """Return the places of a quarter of them: whatever every fourth prompt or question has brought.

    So the others were asked for in other words, and a text that was written twice is on one side.
    """
    asked: list[object] = [_asked(one) for one in made.candidates]
    if len(set(asked)) < 4 and made.candidates[0].png:  # pictures of hardly any prompt: each is one of its own
        asked = list(range(len(asked)))
    held = set(list(dict.fromkeys(asked))[3::4])
    return [place for place, words in enumerate(asked) if words in held]


def _asked(one: Candidate) -> str:
    """Return the prompt of a picture, the question of an answer, and of a text all of it."""
    messages = one.item.get("messages")
    return str(messages[0]["content"]) if messages else one.words


def _read(file: Path) -> bytes | None:
    """Return what a file of samples holds; None where it is not there, or is none."""
    try:
        content = file.read_bytes()
        _unpacked(content)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return content


def _packed(samples: Samples) -> bytes:
    state = {"rounds": samples.rounds, "in_vain": samples.in_vain, "seconds": round(samples.seconds, 1)}
    files: dict[str, bytes] = {STATE: json.dumps(state).encode()}
    files[INDEX] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in samples.rows).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in [*files.items(), *sorted(samples.pictures.items())]:
            archive.writestr(zipfile.ZipInfo(name, ANY_DAY), content)
    return buffer.getvalue()


def _unpacked(content: bytes) -> Samples:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        state: dict[str, Any] = json.loads(archive.read(STATE))
        rows = [json.loads(line) for line in archive.read(INDEX).split(b"\n") if line.strip()]
        pictures = {row["file"]: archive.read(row["file"]) for row in rows if row.get("file")}
    return Samples(tuple(rows), pictures, int(state["rounds"]), int(state["in_vain"]), float(state["seconds"]))
