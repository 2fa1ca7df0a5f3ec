"""From what people have to a registered backbone: a folder, a checkpoint in one file, or a model of the hub."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from core.backbones import introductions
from core.backbones.families import Objective
from core.backbones.folders.distillation import index_for
from core.backbones.folders.files import json_object
from core.backbones.hub import fetch
from core.backbones.hub_name import HUB_NAME, check_hub_name
from core.backbones.record import SAY_IT, BackboneRecord, check_pool, describe
from core.backbones.registry import Registry
from core.backbones.single_files.layouts import write_layout
from core.backbones.single_files.recognising import recognise
from core.backbones.single_files.transformer_files import (
    TransformerFile,
    check_base,
    licence_of,
    no_base,
    read_transformer,
)
from core.disk import ROOT, hash_file, place, sync_tree
from core.errors import InvalidInput
from core.settings import Settings
from core.text_safety import shown

INDEX, TRANSFORMER = "model_index.json", "transformer"
CONVERTER = "worker.commands.convert"
NO_ROOM = 4  # its exit status where the disk is full
DRAFT = ".draft-"  # how a folder's name begins that is not yet whole
SIDE_MULTIPLE = 8  # pixels that a latent stands for, at the usual sizes
ALONE = "for a transformer alone in one file"
ROOM = 1.2  # of a file's size, that its folder may need


@dataclass(frozen=True)
class Brought:
    """What an operator says of a backbone beside what its files say themselves."""

    id: str
    licence: str | None = None
    pool: Path | None = None
    resolution: int | None = None
    max_tokens: int | None = None
    targets: tuple[str, ...] | None = None
    hub_name: str | None = None
    objective: Objective | None = None
    config: Path | None = None
    revision: str | None = None
    words: Mapping[str, str | None] = field(default_factory=dict)  # what people are told of it
    base: str | None = None  # the backbone that has the other parts of a transformer alone
    sample_steps: int | None = None
    guidance: float | None = None

    @property
    def defaults(self) -> dict[str, int | float]:
        """What jobs on it take unless they say otherwise, as far as the operator says it."""
        said = {name: getattr(self, name) for name in ("max_tokens", "sample_steps", "guidance")}
        return {name: value for name, value in said.items() if value is not None}


def bring(what: str, brought: Brought, settings: Settings) -> BackboneRecord:
    """Register a backbone; nothing of it is left where it is refused. Raises InvalidInput or Conflict."""
    registry = Registry.load(settings)
    registry.check_free(brought.id)
    _check(brought)
    before = registry.find(brought.id)
    record = _brought(what, brought, registry, settings)
    if before is not None and before.id == record.id and before.path != record.path:
        print(f"It takes the place of {shown(str(before.path))} for jobs to come; jobs that there are keep that.")
    return record


def _brought(what: str, brought: Brought, registry: Registry, settings: Settings) -> BackboneRecord:
    path = Path(what)
    if path.is_file():
        _refuse(brought, revision="the hub's")
        if (transformer := read_transformer(path)) is not None:
            return _convert_transformer(path, transformer, brought, registry, settings)
        _refuse(brought, base=ALONE)
        return _convert(path, brought, registry, settings)
    if path.is_dir():
        _refuse(brought, objective="a single file's", config="a single file's", revision="the hub's", base=ALONE)
        record = _described(path, brought)
        registry.register(record)
        return record
    if not HUB_NAME.fullmatch(what):
        raise InvalidInput(
            f"There is no {shown(what)} here, and it is no ORG/NAME of the hub.", code="not_found", param="folder"
        )
    _refuse(brought, objective="a single file's", config="a single file's", base=ALONE)
    try:
        return _fetch(what, brought, registry, settings)
    except InvalidInput as error:
        if error.code in {"hub_unreached", "hub_not_found"} and error.param == "folder":
            words = f"There is no {shown(what)} on this machine, from {Path.cwd()}. {error.message}"
            raise InvalidInput(words, code=error.code, param=error.param) from error
        raise


def _check(brought: Brought) -> None:
    """Raise InvalidInput for what can be told before anything is read, converted or fetched."""
    if brought.resolution is not None and brought.resolution % SIDE_MULTIPLE:
        words = f"--resolution is a multiple of {SIDE_MULTIPLE}."
        raise InvalidInput(words, code="invalid_resolution", param="resolution")
    if brought.hub_name is not None:
        check_hub_name(brought.hub_name)
    check_pool(brought.pool)
    introductions.check(**brought.words)


def _refuse(brought: Brought, **others: str) -> None:
    """Raise InvalidInput for an option that is for something else than what is brought."""
    for option, whose in others.items():
        if getattr(brought, option) is not None:
            raise InvalidInput(f"--{option} is {whose}; leave it out.", code="contradiction", param=option)


def _described(
    folder: Path, brought: Brought, *, licence: str | None = None, called: str | None = None, notes: Sequence[str] = ()
) -> BackboneRecord:
    record = describe(
        brought.id,
        folder,
        licence=brought.licence or licence,
        pool=brought.pool,
        target_modules=brought.targets,
        resolution=brought.resolution,
        defaults=brought.defaults,
        hub_name=brought.hub_name,
        called=called or brought.hub_name,
        notes=notes,
    )
    _check_drawn(record, brought)
    return record.model_copy(update=brought.words)


def _check_drawn(record: BackboneRecord, brought: Brought) -> None:
    """Raise InvalidInput for what is said of pictures where there are none, or where their pipeline does otherwise."""
    for option in ("resolution", "sample_steps", "guidance") if record.kind == "texts" else ():
        if getattr(brought, option) is not None:
            words = f"A model of texts has no pictures; leave --{option.replace('_', '-')} out."
            raise InvalidInput(words, code="contradiction", param=option)
    if record.kind == "images" and (brought.guidance or 0) > 1 and json_object(record.path, INDEX).get("is_distilled"):
        words = "A distilled model of this family is drawn without guidance whatever is said; leave --guidance out."
        raise InvalidInput(words, code="contradiction", param="guidance")


def _convert(file: Path, brought: Brought, registry: Registry, settings: Settings) -> BackboneRecord:
    checkpoint = recognise(file, brought.objective, brought.config)
    licence = brought.licence or checkpoint.licence
    if licence is None:
        raise InvalidInput(f"The file names no licence{SAY_IT}", code="licence_unknown", param="licence")
    with _begun(file, checkpoint.dtype, brought, settings) as draft, tempfile.TemporaryDirectory() as layout:
        write_layout(checkpoint, Path(layout), brought.config)
        run_converter(file, Path(layout), checkpoint.family, checkpoint.dtype, draft)
        notes = (_source(file), *checkpoint.notes)
        record = _described(draft, brought, licence=licence, called=file.stem, notes=notes)
        return _placed(record, draft, registry, settings)


def _convert_transformer(
    file: Path, transformer: TransformerFile, brought: Brought, registry: Registry, settings: Settings
) -> BackboneRecord:
    """Make a folder of a transformer alone: its other parts are links to those of a backbone that has them."""
    _refuse(brought, objective="a whole checkpoint's", config="a whole checkpoint's")
    if brought.base is None:
        raise no_base(transformer, registry.added)
    base = registry.get(brought.base)
    check_base(transformer, base)
    licence = licence_of(transformer, brought.licence)
    with _begun(file, transformer.dtype, brought, settings) as draft:
        run_converter(file, base.path, transformer.made, transformer.dtype, draft)
        _write_index(base.path, file.stem, draft)
        for part in sorted({Path(name).parts[0] for name in base.sha256} - {INDEX, TRANSFORMER}):
            (draft / part).symlink_to((base.path / part).resolve(), target_is_directory=True)
        notes = (_source(file), f"Its other parts are those of {base.id}, in {shown(str(base.path))}.")
        record = _described(draft, brought, licence=licence, called=file.stem, notes=notes)
        return _placed(record, draft, registry, settings)


def _write_index(base: Path, name: str, draft: Path) -> None:
    """Write the index of a base's folder for a transformer of another file, to the byte where it says the same."""
    index = json_object(base, INDEX)
    if (own := index_for(name, index)) == index:
        shutil.copyfile(base / INDEX, draft / INDEX)
    else:
        (draft / INDEX).write_text(json.dumps(own, indent=2))


@contextmanager
def _begun(file: Path, dtype: str, brought: Brought, settings: Settings) -> Iterator[Path]:
    """Give the folder that a file is converted into; raise InvalidInput where there is no room for it."""
    print(f"Converting {shown(file.name)}, {dtype}: a minute for each few GB.", flush=True)
    with draft_folder(brought.id, settings) as draft:
        if shutil.disk_usage(draft).free < file.stat().st_size * ROOM:
            raise InvalidInput(f"{settings.data} has no room for a folder as large as {file.name}.", code="disk_full")
        yield draft


def _source(file: Path) -> str:
    return f"Converted from {shown(file.name)}, SHA-256 {hash_file(file)}."


def _fetch(name: str, brought: Brought, registry: Registry, settings: Settings) -> BackboneRecord:
    with draft_folder(brought.id, settings) as draft:
        fetched = fetch(name, brought.revision, draft, licence=brought.licence)
        record = _described(draft, brought, notes=fetched.notes, called=name)
        record = record.model_copy(update={"hub_name": brought.hub_name or name})
        return _placed(record, draft, registry, settings)


@contextmanager
def draft_folder(id: str, settings: Settings) -> Iterator[Path]:
    """Give an empty folder beside the prepared backbones; what is left of it is removed.

    Drafts of processes that were killed are removed too: nobody holds their locks any more.
    """
    place = settings.data / "backbones"
    place.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with locked(place, wait=True):
            for old in place.glob(f"{DRAFT}*"):
                with suppress(BlockingIOError), locked(old):
                    shutil.rmtree(old, ignore_errors=True)
            draft = Path(tempfile.mkdtemp(dir=place, prefix=f"{DRAFT}{id}-"))
            held.callback(shutil.rmtree, draft, ignore_errors=True)
            held.enter_context(locked(draft))
        yield draft


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder's lock, here and in processes that are started meanwhile; raise BlockingIOError if others do."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        os.set_inheritable(opened, True)  # a converter may outlive the command that started it
        yield
    finally:
        os.close(opened)


def _placed(record: BackboneRecord, draft: Path, registry: Registry, settings: Settings) -> BackboneRecord:
    """Move a described draft to its place and register it there; the same files may be there already."""
    folder = (settings.data / "backbones" / f"{record.id}-{record.revision}").resolve()
    sync_tree(draft)
    if not folder.exists():
        place(draft, folder)
    placed = record.model_copy(update={"path": folder})
    registry.register(placed)
    return placed


def run_converter(file: Path, layout: Path, family: str, dtype: str, target: Path) -> None:
    """Convert in a process of its own, which loads torch; raise InvalidInput with what did not fit."""
    command = [sys.executable, "-m", CONVERTER, *map(str, (file.resolve(), layout, family, dtype, target))]
    environment = os.environ | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    # closed would be its lock: a draft is nobody's only once its converter has ended too
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, close_fds=False)
    if done.returncode == 0:
        return
    if done.returncode == NO_ROOM:
        raise InvalidInput(f"{target.parent} has no room for a folder as large as {file.name}.", code="disk_full")
    if done.returncode < 0:
        words = f"Converting {shown(file.name)} was ended by signal {-done.returncode}: it may need more memory than "
        raise InvalidInput(f"{words}there is, about twice the file's size.", code="conversion_ended", param="folder")
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    why = shown(lines[-1][:300].rstrip(".")) if lines else f"its conversion ended with {done.returncode}"
    other = "say with --config which diffusers folder has its configuration"
    if (layout / TRANSFORMER).is_dir():
        other = "name with --base one whose transformer has its size"
    raise InvalidInput(
        f"This file can't become a backbone: its tensors do not fit the configuration of its parts: {why}. Where "
        f"it is of another size than usual, {other}.",
        code="invalid_backbone",
        param="folder",
    )
