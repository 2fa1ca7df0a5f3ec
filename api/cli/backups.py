"""`albatross backup` and `albatross restore`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from core.runtime.command_line import CommandLine, Data, read_settings

COMMANDS = CommandLine()
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="folder of the backup")]


@COMMANDS.explained(
    "backup", "albatross backup /backups/monday", "albatross backup /backups/monday --data /srv/albatross"
)
def backup(folder: Folder, data: Data = None) -> None:
    """Copy a service, which may be running, into a new folder: database, files and keys."""
    settings = read_settings(data=data)
    from core.database import backup as backups

    report = backups.backup(settings, folder)
    print(f"Copied {report.files} files, {report.bytes:,} bytes, to {folder}.")
    _say_what_is_missing(report.missing)


@COMMANDS.explained("restore", "albatross restore /backups/monday --data /srv/albatross-again")
def restore(folder: Folder, data: Data = None) -> None:
    """Make a new data folder from a backup, after checking every file of it."""
    settings = read_settings(data=data)
    from core.database import backup as backups

    report = backups.restore(settings, folder)
    print(f"Restored {report.files} files, {report.bytes:,} bytes, to {settings.data}.")
    _say_what_is_missing(report.missing)


def _say_what_is_missing(missing: Sequence[str]) -> None:
    if missing:
        print(f"{len(missing)} files that the database names were not in the storage; erased meanwhile, or lost:")
        print("\n".join(f"  {key}" for key in missing))
