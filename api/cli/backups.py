"""`albatross backup` and `albatross restore`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from api.cli.commands import Subparsers, add_command
from core.settings import Settings


def add_backup(commands: Subparsers) -> None:
    words = "Copy a service, which may be running, into a new folder: database, files and keys."
    examples = ("albatross backup /backups/monday", "albatross backup /backups/monday --data /srv/albatross")
    backup = add_command(commands, "backup", words, examples, _backup)
    backup.add_argument("folder", metavar="FOLDER", type=Path)
    words = "Make a new data folder from a backup, after checking every file of it."
    example = "albatross restore /backups/monday --data /srv/albatross-again"
    restore = add_command(commands, "restore", words, (example,), _restore)
    restore.add_argument("folder", metavar="FOLDER", type=Path)


def _backup(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.database.backup import backup

    report = backup(settings, chosen.folder)
    print(f"Copied {report.files} files, {report.bytes:,} bytes, to {chosen.folder}.")
    _say_what_is_missing(report.missing)
    return 0


def _restore(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.database.backup import restore

    report = restore(settings, chosen.folder)
    print(f"Restored {report.files} files, {report.bytes:,} bytes, to {settings.data}.")
    _say_what_is_missing(report.missing)
    return 0


def _say_what_is_missing(missing: Sequence[str]) -> None:
    if missing:
        print(f"{len(missing)} files that the database names were not in the storage; erased meanwhile, or lost:")
        print("\n".join(f"  {key}" for key in missing))
