"""The registry of taggers: captioning models that may describe images without a caption, as facts and file hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.backbones.folders.captioning import inspect_tagger
from core.backbones.record import VALID_ID, difference
from core.disk import hash_file, write_json
from core.errors import Conflict, InvalidInput, JobFailure
from core.settings import Settings

NONE = "none"
COLOURS = "colours"
BUILT_IN = (COLOURS,)  # needs no model: it names the colours of the pixels, and says no more
RESERVED = frozenset({"auto", NONE, *BUILT_IN})


class TaggerRecord(BaseModel):
    """What is known of one captioning model. `sha256` maps every file that may be loaded to its hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    path: Path
    revision: str
    sha256: dict[str, str]
    licence: str
    prompt: str | None = None  # what the model continues or answers, for those that want one
    max_tokens: int = 40


class Taggers:
    """The captioning models that this service offers, by id."""

    def __init__(self, records: Mapping[str, TaggerRecord], file: Path) -> None:
        self._records, self._file = dict(records), file

    @classmethod
    def load(cls, settings: Settings) -> Taggers:
        """Read the registry file; raise InvalidInput where it can't be read."""
        file = settings.taggers_file
        if not file.is_file():
            return cls({}, file)
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))["taggers"]
            return cls({id: TaggerRecord.model_validate(entry) for id, entry in entries.items()}, file)
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
            message = f"The registry file {file} can't be read; mend or remove it."
            raise InvalidInput(message, code="invalid_registry") from error

    def __iter__(self) -> Iterator[TaggerRecord]:
        return iter(sorted(self._records.values(), key=lambda record: record.id))

    @property
    def ids(self) -> list[str]:
        """The ids in order; "auto" takes the first."""
        return [record.id for record in self]

    def get(self, id: str) -> TaggerRecord | None:
        """Return the record; None for one that is built in, or gone."""
        return self._records.get(id)

    def add(
        self, id: str, folder: Path, *, licence: str, prompt: str | None = None, max_tokens: int = 40
    ) -> TaggerRecord:
        """Check a folder, hash its files and write its entry; raise InvalidInput for what must not be loaded."""
        if id in RESERVED:
            raise Conflict(f"{id} is taken; choose another id.", code="tagger_exists", param="id")
        if not VALID_ID.fullmatch(id):
            raise InvalidInput("A tagger's id is 1-64 of a-z 0-9 . _ - .", code="invalid_tagger_id", param="id")
        folder = folder.resolve()
        hashes = {name: hash_file(folder / name) for name in inspect_tagger(folder)}
        digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
        record = TaggerRecord(
            id=id,
            path=folder,
            revision=digest[:16],
            sha256=hashes,
            licence=licence,
            prompt=prompt,
            max_tokens=max_tokens,
        )
        self._records[id] = record
        entries = {each.id: each.model_dump(mode="json") for each in self}
        write_json(self._file, {"version": 1, "taggers": entries})
        return record

    def verified(self, id: str) -> TaggerRecord | None:
        """Return the record after hashing its files again; None for one that is built in. Raises JobFailure."""
        if id in RESERVED:
            return None
        record = self.get(id)
        if record is None:
            raise _unavailable(id, "it is not registered here")
        if (changed := difference(record.path, record.sha256)) is not None:
            raise _unavailable(id, changed)
        return record


def _unavailable(id: str, what: str) -> JobFailure:
    return JobFailure(
        f"The tagger {id} can't be used on this worker: {what}. Restore its folder, register it again, or create the "
        "job with captions of your own.",
        code="backbone_unavailable",
        param="bat.caption",
    )
