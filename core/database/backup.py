"""A copy of a running service in one folder, and a service made from such a copy.

albatross.db     the database at one moment
storage/         every file that this database names
pools/           candidate pools that were built in the data folder
presets/         an operator's own presets
signing.key, backbones.json, taggers.json      where there are any
manifest.json    written last: what belongs to the backup, with the hash of each file
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from core.database.migrations import revision, revisions
from core.database.tables import Table
from core.disk import PRIVATE, PRIVATE_FOLDER, copy_whole, hash_file, sync, write_json, write_whole
from core.errors import Conflict, InvalidInput, Unavailable
from core.settings import Settings
from core.version import VERSION

MANIFEST = "manifest.json"
DATABASE, STORAGE, KEY, REGISTRY, POOLS = "albatross.db", "storage", "signing.key", "backbones.json", "pools"
TAGGERS, PRESETS = "taggers.json", "presets"
FORMAT = 1
BUSY_SECONDS = 30


@dataclass(frozen=True)
class Entry:
    """A file of the backup, by its path inside it."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Report:
    """What was copied, and which of the files that the database names were not there any more."""

    files: int
    bytes: int
    missing: tuple[str, ...] = ()


def backup(settings: Settings, folder: Path) -> Report:
    """Copy the service into a new or empty folder; raises InvalidInput for what has to be copied by its own tools."""
    database = _local(settings)
    if not database.is_file():
        raise InvalidInput(f"There is no service in {settings.data}.", code="no_service")
    folder = folder.expanduser().absolute()
    if folder.resolve().is_relative_to(settings.data.resolve()):
        raise InvalidInput("Put the backup outside of the data folder.", code="invalid_folder")
    _claim(folder)
    entries, missing = [_snapshot(database, folder / DATABASE)], []
    # after the database, so that all that it names was stored before; a file that was erased since may be gone
    for key in _named(folder / DATABASE):
        entry = _copied(settings.data / STORAGE / key, folder, f"{STORAGE}/{key}")
        entries.append(entry) if entry else missing.append(key)
    others = {
        KEY: settings.data / KEY,
        REGISTRY: settings.registry_file,
        TAGGERS: settings.taggers_file,
        **_pools(settings),
        **{f"{PRESETS}/{path.name}": path for path in sorted(settings.presets_folder.glob("*.toml"))},
    }
    entries += [entry for name, path in others.items() if (entry := _copied(path, folder, name))]
    content = {
        "format": FORMAT,
        "albatross": VERSION,
        "data": str(settings.data),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(f"sqlite:///{folder / DATABASE}"),
        "files": [asdict(entry) for entry in entries],
        "missing": missing,
    }
    write_whole(folder / MANIFEST, json.dumps(content, indent=1).encode())
    return Report(len(entries), sum(entry.bytes for entry in entries), tuple(missing))


def restore(settings: Settings, folder: Path) -> Report:
    """Make the data folder of the settings from a backup; raises where either is not as it must be."""
    manifest = _manifest(folder)
    entries = [Entry(**row) for row in manifest["files"]]
    _verify(folder, entries)
    database = _local(settings)
    if database.exists():
        raise Conflict(f"There is a database at {database} already.", code="folder_in_use")
    _claim(settings.data)
    places = {DATABASE: database, REGISTRY: settings.registry_file, TAGGERS: settings.taggers_file}
    presets = (entry.name for entry in entries if entry.name.startswith(f"{PRESETS}/"))
    places |= {name: settings.presets_folder / Path(name).name for name in presets}
    # the database comes last: without it there is no service, and nothing that looks like one
    for entry in sorted(entries, key=lambda entry: entry.name == DATABASE):
        _copy(folder / entry.name, places.get(entry.name, settings.data / entry.name))
        if entry.name in (REGISTRY, TAGGERS):
            _move_paths(places[entry.name], str(manifest["data"]), str(settings.data))
    return Report(len(entries), sum(entry.bytes for entry in entries), tuple(manifest["missing"]))


def _local(settings: Settings) -> Path:
    """Return the SQLite file; raises InvalidInput where the database or the files live elsewhere."""
    problems = []
    url = make_url(settings.database)
    if url.get_backend_name() != "sqlite" or not url.database:
        problems.append("back up PostgreSQL with pg_dump, or with continuous archiving")
    if settings.storage == "s3":
        problems.append("back up the bucket with the store's versioning or replication")
    if problems:
        words = "This command copies SQLite and a local storage folder only"
        by_hand = "copy signing.key, backbones.json, taggers.json and presets by hand"
        text = f"{words}: {'; '.join(problems)}. Take the database first; {by_hand}."
        raise InvalidInput(text, code="not_local")
    return Path(str(url.database)).absolute()


def _claim(folder: Path) -> None:
    """Make the folder for its owner alone; raises Conflict where something is in it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is not empty; name a new folder.", code="folder_in_use")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)  # one that is there may be open to others, and what is below is as reachable


def _snapshot(database: Path, target: Path) -> Entry:
    """Copy the database as it is at this moment, without holding up its writers."""
    target.touch(mode=PRIVATE)
    try:
        with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise Unavailable(f"The database could not be copied ({error.sqlite_errorname}).", code="no_backup") from error
    sync(target)
    return _entry(target, DATABASE)


def _named(database: Path) -> list[str]:
    """List the keys of all files that the database names and that nobody has deleted."""
    keys: set[str] = set()
    with closing(sqlite3.connect(database)) as connection:
        for table in Table.metadata.sorted_tables:
            if "storage_key" in table.c:
                alive = " WHERE deleted_at IS NULL" if "deleted_at" in table.c else ""
                keys |= {str(key) for (key,) in connection.execute(f"SELECT storage_key FROM {table.name}{alive}")}
    return sorted(keys)


def _pools(settings: Settings) -> dict[str, Path]:
    """Find the pools that were built here; the encodings beside them are a cache."""
    paths = (settings.data / POOLS).glob("*/*")
    return {path.relative_to(settings.data).as_posix(): path for path in paths if path.is_file()}


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        known = manifest["format"] == FORMAT and {"files", "missing", "data", "revision"} <= manifest.keys()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{folder} holds no complete backup: no manifest.", code="no_backup") from error
    if not known or manifest["revision"] not in revisions():
        raise InvalidInput("The backup was made by a newer version; restore it with that one.", code="newer_backup")
    return dict(manifest)


def _verify(folder: Path, entries: list[Entry]) -> None:
    """Raise InvalidInput unless every file is there, whole, and inside the folder."""
    root = folder.resolve()
    for entry in entries:
        path = root / entry.name
        if path.resolve() != path or not path.is_relative_to(root) or not path.is_file():
            raise InvalidInput(f"The backup is not whole: {entry.name} is missing.", code="damaged_backup")
        if _entry(path, entry.name) != entry:
            raise InvalidInput(f"The backup is not whole: {entry.name} has changed.", code="damaged_backup")
    if DATABASE not in {entry.name for entry in entries}:
        raise InvalidInput("The backup is not whole: it has no database.", code="damaged_backup")


def _move_paths(registry: Path, old: str, new: str) -> None:
    """Let records of backbones, pools and taggers that lay in the old data folder name the new one."""
    content = json.loads(registry.read_text(encoding="utf-8"))
    for record in (content.get("backbones") or content.get("taggers") or {}).values():
        for field in ("path", "pool"):
            path = record.get(field)
            if path and Path(path).is_relative_to(old):
                record[field] = str(Path(new) / Path(path).relative_to(old))
    write_json(registry, content)


def _copied(path: Path, folder: Path, name: str) -> Entry | None:
    """Copy a file into the backup; None where there is none."""
    try:
        _copy(path, folder / name)
    except FileNotFoundError:
        return None
    return _entry(folder / name, name)


def _copy(path: Path, target: Path) -> None:
    copy_whole(path, target)


def _entry(path: Path, name: str) -> Entry:
    return Entry(name, hash_file(path), path.stat().st_size)
