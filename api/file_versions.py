"""New versions of an upload: one is stored beside the old, and then the row of the file names it in its place."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from api.dependencies import Caller, Services
from api.lookups import check_unused, find_file
from api.schemas.files import FileObject
from api.serializers.files import file_object
from core.accounts import quotas, stored_bytes
from core.accounts.upload_room import UploadRoom
from core.database.tables import File, Json, new_id
from core.errors import AlbatrossError, Conflict, NotFound, StorageUnavailable
from core.storage.keys import edits_prefix

R = TypeVar("R")
EDITS = 3  # of a file, while one reading of it goes on


@dataclass(frozen=True)
class Before:
    """A file as it is before an edit, and what is known of its items."""

    file: File
    profile: Json | None


@dataclass(frozen=True)
class Bench:
    """Where an edit is made: the bytes of the file as it is at `path`, those of the next version at `packed`."""

    folder: Path
    path: Path
    packed: Path
    most: int  # bytes that the next version may have


def upload(file: File) -> File:
    """Return a file that has items, or raise NotFound."""
    if file.job_id is not None or not file.kind:
        raise NotFound("This file is a result; only uploads have items.", code="file_not_found", param="file_id")
    return file


def look(services: Services, account: str, file_id: str) -> None:
    """Raise NotFound before the body is read, so that a stranger learns nothing from how it would be refused."""
    with services.reading.begin() as session:
        upload(find_file(session, account, file_id))


def editable(services: Services, caller: Caller, file_id: str, sha256: str | None) -> Before:
    """Return the file as it is now; Conflict where a job needs it so, or where the caller knows another version."""
    with services.writing.begin() as session:
        file = upload(find_file(session, caller.account, file_id, lock=True))
        check_unused(session, file)
        if sha256 not in (None, file.sha256):
            raise changed()
        return Before(file, file.profile)


def write(
    services: Services,
    caller: Caller,
    before: Before,
    room: UploadRoom,
    action: str,
    make: Callable[[Bench], R],
    enter: Callable[[File, R], None],
) -> FileObject:
    """Let `make` write the next version, and `enter` say in the row what it holds; Conflict where another was first."""
    file_id, old = before.file.id, before.file
    most = room.for_writing(services.settings.max_file_bytes, services.copies_on_disk + 1)
    key = f"{edits_prefix(caller.account, file_id)}/{new_id('v')}"
    with tempfile.TemporaryDirectory(dir=folder_of(services, caller.account), prefix=f"{file_id}-") as name:
        folder = Path(name)
        bench = Bench(folder, folder / "references", folder / "packed", most)
        _fetch_version(services, caller, old, bench.path)
        result = make(bench)
        stored = services.storage.put(key, bench.packed)
    try:
        with services.writing.begin() as session:
            account = quotas.locked(session, caller.account)  # before the file, as a create call has it
            file = find_file(session, caller.account, file_id, lock=True)
            check_unused(session, file)
            if file.storage_key != old.storage_key:
                raise changed()
            left = quotas.bytes_left(session, account, services.settings, apart_from=room.identifier)
            if (more := stored.bytes - file.bytes) > 0:  # who has too much already may take something out
                left.check(more)
            room.release(session)
            enter(file, result)
            if anew := stored.sha256 != file.sha256:
                stored_bytes.add(session, caller.account, more)
                file.storage_key, file.bytes, file.sha256 = stored.key, stored.bytes, stored.sha256
                caller.note(session, action, file_id)
            answer = file_object(session, file)
    except (AlbatrossError, SQLAlchemyError):
        services.storage.delete_prefix(key)  # nobody will ever ask for it
        raise
    with suppress(StorageUnavailable):  # then it goes with the file
        services.storage.delete_prefix(old.storage_key if anew else key)
    return answer


def through_edits(read: Callable[[], R]) -> R:
    """Look up a file's row and read its bytes; again where they were gone, for an edit may have put others there."""
    for _ in range(EDITS):
        try:
            return read()
        except NotFound as error:
            if error.code != "file_gone":
                raise
    return read()


def fetch(services: Services, file: File, path: Path) -> None:
    """Fetch the bytes of a file, whole as they were stored."""
    if services.storage.fetch(file.storage_key, path).sha256 != file.sha256:
        raise StorageUnavailable("The store has damaged this file; try again later.", code="storage_unavailable")


def _fetch_version(services: Services, caller: Caller, before: File, path: Path) -> None:
    """Fetch the bytes to edit; where another edit has replaced them meanwhile the file has changed, it is not gone."""
    try:
        fetch(services, before, path)
    except NotFound:
        with services.reading.begin() as session:
            if find_file(session, caller.account, before.id).storage_key != before.storage_key:
                raise changed() from None
        raise


def folder_of(services: Services, account: str) -> Path:
    """Return the folder in which an account's uploads lie meanwhile, which is there then."""
    folder = services.uploads_of(account)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def changed() -> Conflict:
    """Say that somebody else was first."""
    return Conflict("The file was changed meanwhile; look at its items again.", code="file_changed")
