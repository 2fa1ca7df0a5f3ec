"""What is recorded about a backbone: facts, kept beside its weights, read without torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.backbones import chat_template
from core.backbones.chat_template import ChatFacts
from core.backbones.families import Form, Kind, Objective, family
from core.backbones.folders.inspecting import inspect_folder
from core.backbones.hub_name import check_hub_name
from core.backbones.licences import read_licence
from core.backbones.sides import step_missed
from core.disk import ROOT, hash_file, hash_once, write_json
from core.errors import InvalidInput

RECORD_FILE = "albatross.json"  # what a built-in backbone's folder says about itself
VALID_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # no colon: model names are made of parts between colons
RESERVED = frozenset({"auto", "generate"})  # a job's pool is named by its backbone's id, or one of these
MIN_TOKENS, MAX_TOKENS = 32, 131_072  # of a text, that a job may be told to take
SAY_IT = "; say it with --licence NAME: it is written on every adapter's card."
UNRELATED: Mapping[Kind, tuple[str, ...]] = {
    "images": ("a bowl of fruit on a table", "a city street at night"),
    "texts": ("What is the capital of France?", "Write one sentence about trees."),
}
# Where those are in a job's own data, these are asked instead; and a style is asked for contents of both lists.
OTHERS: Mapping[Kind, tuple[str, ...]] = {
    "images": ("a wooden chair", "a sailing boat on the sea", "a teapot", "a bird on a branch", "a lighthouse"),
    "texts": ("Which planets have rings?", "Write one sentence about a bridge.", "How many legs has a spider?"),
}
SETTINGS: Mapping[Kind, tuple[str, ...]] = {
    "images": ("on a beach", "in the snow", "in a forest", "on a kitchen table"),
    "texts": (),
}


class BackboneRecord(BaseModel):
    """What is known of one backbone. `sha256` maps every file that may be loaded to its hash.

    Of `unrelated_prompts` the first that a job does not train on are asked; `settings` are what a subject is put into,
    in words that this backbone knows: () means the usual ones. `hub_name` is ORG/NAME, the name that others know it by.
    `parameters` and `adapted_modules` are counts; `variant` is in the names of its weights ("fp16"), where one is;
    `notes` are sentences that were told when it was added. `title`, `description` and `good_for` are what its operator
    says of it to people; where they are None, core.backbones.introductions speaks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    family: str  # the id of a row of families.py
    path: Path
    revision: str
    sha256: dict[str, str]
    target_modules: tuple[str, ...]
    licence: str
    pool: Path | None = None
    defaults: dict[str, int | float] = Field(default_factory=dict)
    trigger_hint: str | None = None
    unrelated_prompts: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    resolution: int | None = None
    caption_prefix: str = ""
    hub_name: str | None = None
    context_tokens: int | None = None  # the most tokens of a text that it has places for, where that is known
    objective: Objective | None = None  # of images: what the network predicts
    parameters: int | None = None
    adapted_modules: int | None = None
    variant: str | None = None
    notes: tuple[str, ...] = ()
    title: str | None = None
    description: str | None = None
    good_for: str | None = None
    chat: ChatFacts | None = None  # of texts; None in records of before it was looked at

    @field_validator("family")
    @classmethod
    def _known(cls, id: str) -> str:
        return family(id).id

    @property
    def public_name(self) -> str:
        """Name the backbone in files that leave this service; its id only where no hub name is known."""
        return self.hub_name or self.id

    @property
    def kind(self) -> Kind:
        """Say what this backbone is adapted with."""
        return family(self.family).kind

    @property
    def form(self) -> Form:
        """Say how an image network is told its caption."""
        form = family(self.family).form
        assert form is not None
        return form

    @property
    def drawing(self) -> Mapping[str, int | float]:
        """Say in how many steps and with how much guidance pictures are drawn, where its family's own are not taken."""
        return {name: self.defaults[name] for name in ("sample_steps", "guidance") if name in self.defaults}

    @property
    def measured_as(self) -> str:
        """Name what measurements of jobs are of: the files, and how pictures are drawn where that was chosen."""
        return " ".join([self.revision, *(f"{name}={value:g}" for name, value in self.drawing.items())])


def describe(
    id: str,
    folder: Path,
    *,
    licence: str | None,
    pool: Path | None = None,
    target_modules: tuple[str, ...] | None = None,
    resolution: int | None = None,
    revision: str | None = None,
    defaults: Mapping[str, int | float] | None = None,
    trigger_hint: str | None = None,
    unrelated_prompts: tuple[str, ...] | None = None,
    caption_prefix: str = "",
    hub_name: str | None = None,
    called: str | None = None,
    notes: Sequence[str] = (),
) -> BackboneRecord:
    """Inspect a folder, which says its family; `revision` defaults to a hash of all file hashes.

    Without a `licence` the folder's own files name it. `called` is what its model is called, where that is not what the
    folder is. `notes` are told beside those of the folder.
    """
    check_id(id)
    if hub_name is not None:
        check_hub_name(hub_name)
    folder = folder.resolve()
    inspected = inspect_folder(folder, target_modules, called)
    if resolution is not None and (step := step_missed(folder, resolution)) is not None:
        words = f"This model draws no sides but multiples of {step}; let --resolution be one."
        raise InvalidInput(words, code="invalid_resolution", param="resolution")
    hashes = {name: hash_file(folder / name) for name in inspected.files if name != RECORD_FILE}
    digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    check_pool(pool)
    return BackboneRecord(
        id=id,
        family=inspected.family.id,
        path=folder,
        revision=revision or digest[:16],
        sha256=hashes,
        licence=licence or known_licence(folder),
        target_modules=target_modules or tuple(inspected.adapted),
        pool=pool.resolve() if pool else None,
        defaults={**inspected.drawing, **(defaults or {})},
        trigger_hint=trigger_hint,
        caption_prefix=caption_prefix,
        hub_name=hub_name,
        unrelated_prompts=UNRELATED[inspected.family.kind] if unrelated_prompts is None else unrelated_prompts,
        resolution=resolution or inspected.resolution,
        context_tokens=inspected.context_tokens,
        objective=inspected.objective,
        chat=chat_template.facts(folder) if inspected.family.kind == "texts" else None,
        parameters=inspected.parameters,
        adapted_modules=inspected.adapted_modules,
        variant=inspected.variant,
        notes=tuple(dict.fromkeys((*notes, *inspected.notes))),
    )


def check_pool(pool: Path | None) -> None:
    """Raise InvalidInput for a candidate pool that is not there."""
    if pool is not None and not (pool.is_file() or (pool / "index.jsonl").is_file()):
        raise InvalidInput(f"The pool {pool} has no index.jsonl.", code="pool_not_found", param="pool")


def check_id(id: str) -> None:
    """Raise InvalidInput for what can't name a backbone."""
    if id in RESERVED:
        raise InvalidInput(
            f"{id} can't be a backbone's id: jobs say it of pools.", code="invalid_backbone_id", param="id"
        )
    if not VALID_ID.fullmatch(id):
        raise InvalidInput("A backbone id is 1-64 of a-z 0-9 . _ - .", code="invalid_backbone_id", param="id")


def known_licence(folder: Path) -> str:
    """Return the licence that a folder's own files name; raise InvalidInput where they name none."""
    found = read_licence(folder)
    if found is None:
        raise InvalidInput(
            f"No README.md or LICENSE beside the weights names a licence that is known{SAY_IT}",
            code="licence_unknown",
            param="licence",
        )
    return found


def check_max_tokens(asked: int | float, record: BackboneRecord) -> None:
    """Raise InvalidInput where this backbone can't read texts of so many tokens."""
    places, why = record.context_tokens, None
    if record.kind != "texts":
        why = "A diffusion model reads captions as far as its text encoder does; leave --max-tokens out."
    elif places is not None and asked > places:
        why = f"config.json says that the model has places for {places:,} tokens; --max-tokens is at most that."
    elif not MIN_TOKENS <= asked <= MAX_TOKENS:
        why = f"--max-tokens is {MIN_TOKENS} to {MAX_TOKENS:,}."
    if why is not None:
        raise InvalidInput(why, code="invalid_max_tokens", param="max_tokens")


def write_record(record: BackboneRecord) -> None:
    """Let a built-in backbone's folder describe itself; paths inside this repository are kept relative to it."""
    content = plain(record) | {"path": "."}
    if record.pool is not None and record.pool.is_relative_to(ROOT):
        content["pool"] = str(record.pool.relative_to(ROOT))
    write_json(record.path / RECORD_FILE, content)


def read_record(folder: Path) -> BackboneRecord:
    """Read what `write_record` wrote."""
    return _read_record(folder, file_version(folder / RECORD_FILE))


@lru_cache(maxsize=16)
def _read_record(folder: Path, version: tuple[int, ...]) -> BackboneRecord:
    content = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    record = BackboneRecord.model_validate(content)
    pool = ROOT / record.pool if record.pool else None  # joining leaves an absolute path alone
    return record.model_copy(update={"path": folder.resolve(), "pool": pool})


def file_version(file: Path) -> tuple[int, ...]:
    """What is another once a file is replaced or rewritten: every request looks, few find anything new to read."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def plain(record: BackboneRecord) -> dict[str, object]:
    return record.model_dump(mode="json")


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
