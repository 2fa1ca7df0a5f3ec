"""The registry of backbones: which pre-trained models may be adapted, as facts and file hashes, without loading any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path

from pydantic import ValidationError

from core.backbones.record import (
    RECORD_FILE,
    BackboneRecord,
    check_id,
    check_max_tokens,
    describe,
    difference,
    file_version,
    plain,
    read_record,
)
from core.disk import ROOT, write_json
from core.errors import Conflict, InvalidInput, JobFailure, NotFound
from core.settings import Settings

# the quickest first
BUILT_IN = {"emoji-ldm": ROOT / "demo/emoji_ldm/weights", "emoji-flow": ROOT / "demo/emoji_64/weights/flow"}
# under {data}/backbones, after `albatross backbones prepare ID`; each with its hub name, which older records do not say
PREPARED = {"smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct"}


class Registry:
    """The backbones that this service offers, by id."""

    def __init__(
        self, records: Mapping[str, BackboneRecord], file: Path, aliases: Mapping[str, str] | None = None
    ) -> None:
        self._records = dict(records)
        self._file = file
        self._aliases = dict(aliases or {})

    @classmethod
    def load(cls, settings: Settings) -> Registry:
        """Read the built-in backbones that are present, then the entries of the registry file."""
        folders = BUILT_IN | {id: settings.data / "backbones" / id for id in PREPARED}
        records = {id: read_record(folder) for id, folder in folders.items() if (folder / RECORD_FILE).is_file()}
        for id in PREPARED.keys() & records.keys():
            records[id] = records[id].model_copy(update={"hub_name": PREPARED[id]})
        return cls({**records, **_entries(settings.registry_file)}, settings.registry_file, settings.model_aliases)

    def __iter__(self) -> Iterator[BackboneRecord]:
        """Yield what an operator has added, then what comes along to try it with: the first is offered first."""
        shipped = (self._records[id] for id in (*BUILT_IN, *PREPARED) if id in self._records)
        return chain(self.added, shipped)

    @property
    def added(self) -> list[BackboneRecord]:
        """What an operator has added, by id."""
        return [record for id, record in sorted(self._records.items()) if id not in BUILT_IN and id not in PREPARED]

    def find(self, name: str) -> BackboneRecord | None:
        """Return the record of this id, or the one that the name is an alias of; None where there is none."""
        return self._records.get(name) or self._records.get(self._aliases.get(name, ""))

    def aliases(self, id: str) -> list[str]:
        """Return the other names of a backbone; an alias that is some backbone's id means that backbone."""
        return sorted(name for name, meant in self._aliases.items() if meant == id and name not in self._records)

    def get(self, name: str) -> BackboneRecord:
        """Return the record; raise NotFound `model_not_found`, naming what there is and what can be prepared."""
        record = self.find(name)
        if record is not None:
            return record
        id = self._aliases.get(name, name)
        if id in PREPARED:
            raise NotFound(
                f"The backbone {id} is not prepared on this machine: run `albatross backbones prepare {id}`.",
                code="model_not_found",
                param="model",
            )
        known = ", ".join(sorted(self._records)) or "none"
        message = f"There is no such backbone. Known: {known}. The operator can let another name stand for one of them"
        raise NotFound(f"{message} with ALBATROSS_MODEL_ALIASES.", code="model_not_found", param="model")

    def add(
        self,
        id: str,
        folder: Path,
        *,
        licence: str | None,
        pool: Path | None = None,
        target_modules: tuple[str, ...] | None = None,
        resolution: int | None = None,
        defaults: Mapping[str, int | float] | None = None,
        hub_name: str | None = None,
    ) -> BackboneRecord:
        """Check a folder, hash its files and write its entry; raise InvalidInput for what must not be loaded."""
        self.check_free(id)
        record = describe(
            id,
            folder,
            licence=licence,
            pool=pool,
            target_modules=target_modules,
            resolution=resolution,
            defaults=defaults,
            hub_name=hub_name,
        )
        self.register(record)
        return record

    def check_free(self, id: str) -> None:
        """Raise InvalidInput or Conflict where an operator's backbone can't have this id."""
        check_id(id)
        if id in BUILT_IN or id in PREPARED:
            raise Conflict(f"{id} is built in; choose another id.", code="backbone_exists", param="id")

    def register(self, record: BackboneRecord) -> None:
        """Write the entry of a backbone that was described; raise InvalidInput where its defaults do not fit it."""
        if "max_tokens" in record.defaults:
            check_max_tokens(record.defaults["max_tokens"], record)
        self._write(record)

    def check_writable(self, id: str) -> None:
        """Raise Conflict where the record is not the registry file's, but comes with this version."""
        if id not in _entries(self._file):
            raise Conflict(
                f"{id} is built in: its record comes with this version.", code="backbone_built_in", param="id"
            )

    def set_trigger(self, id: str, word: str) -> None:
        """Register the trigger word of a backbone that an operator has added; raises Conflict as `check_writable`."""
        self.check_writable(id)
        self._write(self._records[id].model_copy(update={"trigger_hint": word}))

    def _write(self, record: BackboneRecord) -> None:
        entries = {**_entries(self._file), record.id: record}
        content = {"version": 1, "backbones": {key: plain(value) for key, value in sorted(entries.items())}}
        write_json(self._file, content)
        self._records[record.id] = record

    def verify(self, record: BackboneRecord) -> None:
        """Hash every file again (files that look untouched only once a process); raise JobFailure where one differs."""
        if (changed := difference(record.path, record.sha256)) is not None:
            raise _unavailable(record, changed)


def _entries(file: Path) -> Mapping[str, BackboneRecord]:
    return _read_entries(file, file_version(file)) if file.is_file() else {}


@lru_cache(maxsize=16)
def _read_entries(file: Path, version: tuple[int, ...]) -> Mapping[str, BackboneRecord]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))["backbones"]
        return {id: BackboneRecord.model_validate(entry) for id, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise InvalidInput(
            f"The registry file {file} can't be read; mend or remove it.", code="invalid_registry"
        ) from error


def _unavailable(record: BackboneRecord, what: str) -> JobFailure:
    return JobFailure(
        f"The backbone {record.id} can't be used on this worker: {what}. Restore its folder or register it again.",
        code="backbone_unavailable",
    )
