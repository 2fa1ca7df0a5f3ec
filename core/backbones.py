"""The registry of backbones: which pre-trained models may be adapted, as facts and file hashes, without loading any."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.defaults import Family
from core.disk import ROOT, hash_file, hash_once, write_json
from core.errors import Conflict, InvalidInput, JobFailure, NotFound
from core.settings import Settings
from core.weights import inspect_folder

RECORD_FILE = "albatross.json"  # what a built-in backbone's folder says about itself
VALID_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # no colon: model names are made of parts between colons
BUILT_IN = {"emoji-ldm": ROOT / "demo/emoji_ldm/weights"}
PREPARED = ("smollm2-135m",)  # under {data}/backbones, after `albatross backbones prepare ID`
TARGET_MODULES: Mapping[Family, tuple[str, ...]] = {
    "diffusion": ("to_q", "to_k", "to_v", "to_out.0"),
    "language": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
UNRELATED: Mapping[Family, tuple[str, ...]] = {
    "diffusion": ("a bowl of fruit on a table", "a city street at night"),
    "language": ("What is the capital of France?", "Write one sentence about trees."),
}


class BackboneRecord(BaseModel):
    """What is known of one backbone. `sha256` maps every file that may be loaded to its hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    family: Family
    path: Path
    revision: str
    sha256: dict[str, str]
    target_modules: tuple[str, ...]
    licence: str
    pool: Path | None = None
    defaults: dict[str, int | float] = Field(default_factory=dict)
    trigger_hint: str | None = None
    unrelated_prompts: tuple[str, ...] = ()
    resolution: int | None = None
    caption_prefix: str = ""

    @property
    def kind(self) -> Literal["images", "texts"]:
        """Say what this backbone is adapted with."""
        return "images" if self.family == "diffusion" else "texts"


class Registry:
    """The backbones that this service offers, by id."""

    def __init__(
        self, records: Mapping[str, BackboneRecord], file: Path, aliases: Mapping[str, str] | None = None
    ) -> None:  # fmt: skip
        self._records = dict(records)
        self._file = file
        self._aliases = dict(aliases or {})

    @classmethod
    def load(cls, settings: Settings) -> Registry:
        """Read the built-in backbones that are present, then the entries of the registry file."""
        folders = BUILT_IN | {id: settings.data / "backbones" / id for id in PREPARED}
        records = {id: read_record(folder) for id, folder in folders.items() if (folder / RECORD_FILE).is_file()}
        return cls({**records, **_entries(settings.registry_file)}, settings.registry_file, settings.model_aliases)

    def __iter__(self) -> Iterator[BackboneRecord]:
        return iter(sorted(self._records.values(), key=lambda record: record.id))

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
                code="model_not_found", param="model",
            )  # fmt: skip
        known = ", ".join(sorted(self._records)) or "none"
        message = f"There is no such backbone. Known: {known}. The operator can let another name stand for one of them"
        raise NotFound(f"{message} with ALBATROSS_MODEL_ALIASES.", code="model_not_found", param="model")

    def add(
        self, id: str, folder: Path, family: Family, *, licence: str, pool: Path | None = None,
        target_modules: tuple[str, ...] | None = None, resolution: int | None = None,
        revision: str | None = None, defaults: Mapping[str, int | float] | None = None,
    ) -> BackboneRecord:  # fmt: skip
        """Check a folder, hash its files and write its entry; raise InvalidInput for what must not be loaded."""
        if id in BUILT_IN or id in PREPARED:
            raise Conflict(f"{id} is built in; choose another id.", code="backbone_exists", param="id")
        record = describe(
            id, folder, family, licence=licence, pool=pool, target_modules=target_modules,
            resolution=resolution, revision=revision, defaults=defaults,
        )  # fmt: skip
        added = {**_entries(self._file), id: record}
        content = {"version": 1, "backbones": {key: _plain(value) for key, value in sorted(added.items())}}
        write_json(self._file, content)
        self._records[id] = record
        return record

    def verify(self, record: BackboneRecord) -> None:
        """Hash every file again (files that look untouched only once a process); raise JobFailure where one differs."""
        if (changed := difference(record.path, record.sha256)) is not None:
            raise _unavailable(record, changed)


def describe(
    id: str, folder: Path, family: Family, *, licence: str, pool: Path | None = None,
    target_modules: tuple[str, ...] | None = None, resolution: int | None = None, revision: str | None = None,
    defaults: Mapping[str, int | float] | None = None, trigger_hint: str | None = None,
    unrelated_prompts: tuple[str, ...] | None = None, caption_prefix: str = "",
) -> BackboneRecord:  # fmt: skip
    """Inspect a backbone's folder and return its record; `revision` defaults to a hash of all file hashes."""
    if not VALID_ID.fullmatch(id):
        raise InvalidInput("A backbone id is 1-64 of a-z 0-9 . _ - .", code="invalid_backbone_id", param="id")
    folder = folder.resolve()
    inspected = inspect_folder(folder, family)
    hashes = {name: hash_file(folder / name) for name in inspected.files if name != RECORD_FILE}
    digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    if pool is not None and not (pool.is_file() or (pool / "index.jsonl").is_file()):
        raise InvalidInput(f"The pool {pool} has no index.jsonl.", code="pool_not_found", param="pool")
    return BackboneRecord(
        id=id, family=family, path=folder, revision=revision or digest[:16], sha256=hashes, licence=licence,
        target_modules=target_modules or TARGET_MODULES[family], pool=pool.resolve() if pool else None,
        defaults=dict(defaults or {}), trigger_hint=trigger_hint, caption_prefix=caption_prefix,
        unrelated_prompts=UNRELATED[family] if unrelated_prompts is None else unrelated_prompts,
        resolution=resolution or inspected.resolution,
    )  # fmt: skip


def write_record(record: BackboneRecord) -> None:
    """Let a built-in backbone's folder describe itself; paths inside this repository are kept relative to it."""
    content = _plain(record) | {"path": "."}
    if record.pool is not None and record.pool.is_relative_to(ROOT):
        content["pool"] = str(record.pool.relative_to(ROOT))
    write_json(record.path / RECORD_FILE, content)


def read_record(folder: Path) -> BackboneRecord:
    """Read what `write_record` wrote."""
    return _read_record(folder, _version(folder / RECORD_FILE))


@lru_cache(maxsize=16)
def _read_record(folder: Path, version: tuple[int, ...]) -> BackboneRecord:
    content = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    record = BackboneRecord.model_validate(content)
    pool = ROOT / record.pool if record.pool else None  # joining leaves an absolute path alone
    return record.model_copy(update={"path": folder.resolve(), "pool": pool})


def _version(file: Path) -> tuple[int, ...]:
    """What is another once a file is replaced or rewritten: every request looks, few find anything new to read."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _entries(file: Path) -> Mapping[str, BackboneRecord]:
    return _read_entries(file, _version(file)) if file.is_file() else {}


@lru_cache(maxsize=16)
def _read_entries(file: Path, version: tuple[int, ...]) -> Mapping[str, BackboneRecord]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))["backbones"]
        return {id: BackboneRecord.model_validate(entry) for id, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise InvalidInput(
            f"The registry file {file} can't be read; mend or remove it.", code="invalid_registry"
        ) from error


def _plain(record: BackboneRecord) -> dict[str, object]:
    return record.model_dump(mode="json")


def _unavailable(record: BackboneRecord, what: str) -> JobFailure:
    return JobFailure(
        f"The backbone {record.id} can't be used on this worker: {what}. Restore its folder or register it again.",
        code="backbone_unavailable",
    )


def difference(folder: Path, sha256: Mapping[str, str]) -> str | None:
    """Say which of a folder's files is gone or no longer has its hash, and how; None where all are as they were."""
    for name, expected in sha256.items():
        path = folder / name
        try:
            status = path.stat()
            found = hash_once(path, status.st_mtime_ns, status.st_size)
        except OSError:
            return f"{name} can't be read"
        if found != expected:
            return f"{name} is not the file that was registered"
    return None
