"""The single items of an upload: look at them, and write their captions before training."""

import json
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from sqlalchemy.exc import SQLAlchemyError

from api.dependencies import AccountDep, AfterDep, Caller, CallerDep, Services, ServicesDep, checked
from api.http.bodies import read_json
from api.http.multipart import holding
from api.http.openapi import body_of
from api.http.pagination import page, unknown_cursor
from api.lookups import check_unused, find_file
from api.schemas.files import FileObject
from api.schemas.items import CaptionChange, CaptionsRequest, ItemObject
from api.schemas.shared import Page
from api.serializers.files import file_object
from core.accounts import quotas, stored_bytes
from core.accounts.upload_room import UploadRoom
from core.database.tables import File, Json, new_id
from core.errors import AlbatrossError, Conflict, InvalidInput, NotFound, StorageUnavailable
from core.findings import profiles
from core.findings.uploads import CAPTION_CODES
from core.references.files import names
from core.references.files.caption_files import caption
from core.references.files.names import Index
from core.storage.interface import StoredObject
from core.storage.keys import edits_prefix
from core.text_safety import UncleanText
from core.uploads.reader import Recaptioned, ShownItem

router = APIRouter(prefix="/v1/files", tags=["files"])
ITEM = re.compile(r"item-([1-9]\d{0,8})")
LOST_CAPTIONS = "caption_without_image"  # about what was not kept; an edit changes nothing of it


@router.get("/{file_id}/items")
async def list_items(
    file_id: str,
    services: ServicesDep,
    account: AccountDep,
    after: AfterDep = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    thumbnails: Annotated[bool, Query(description="small pictures as data URIs")] = True,
) -> Page[ItemObject]:
    """List images with captions, sizes and findings, or texts, in their order."""
    start = _number(after) if after is not None else 0
    listing = partial(_list, services, account, file_id, start, limit, thumbnails)
    return await to_thread.run_sync(listing, limiter=services.decoder_slots)


@router.post("/{file_id}/items", openapi_extra=body_of(CaptionsRequest))
async def caption_items(request: Request, file_id: str, services: ServicesDep, caller: CallerDep) -> FileObject:
    """Set captions of some images; refused while a job that waits, runs or is paused uses the file."""
    await to_thread.run_sync(_look, services, caller.account, file_id)
    changes = checked(CaptionsRequest, await read_json(request, services.settings))
    async with holding(services.upload_room(caller.account)) as room:
        captioning = partial(_caption, services, caller, file_id, changes, room)
        return await to_thread.run_sync(captioning, limiter=services.decoder_slots)


def _list(services: Services, account: str, file_id: str, start: int, limit: int, thumbnails: bool) -> Page[ItemObject]:
    with services.reading.begin() as session:
        file = _upload(find_file(session, account, file_id))
    if start > file.items:
        raise unknown_cursor()
    with tempfile.TemporaryDirectory(dir=_folder(services, account), prefix=f"{file_id}-") as folder:
        path = Path(folder) / "references"
        _fetch(services, file, path)
        shown = services.reader.show(path, start, limit, thumbnails=thumbnails)
    return page([_item(item, file.findings) for item in shown], start + len(shown) < file.items)


def _look(services: Services, account: str, file_id: str) -> None:
    """Raise NotFound before the body is read, so that a stranger learns nothing from how it would be refused."""
    with services.reading.begin() as session:
        _upload(find_file(session, account, file_id))


def _caption(services: Services, caller: Caller, file_id: str, asked: CaptionsRequest, room: UploadRoom) -> FileObject:
    """Write a new version of the stored file beside the old, then let the row name it in place of the old."""
    before, profile = _captionable(services, caller, file_id, asked)
    most = room.for_writing(services.settings.max_file_bytes, services.copies_on_disk + 1)
    key = f"{edits_prefix(caller.account, file_id)}/{new_id('v')}"
    with tempfile.TemporaryDirectory(dir=_folder(services, caller.account), prefix=f"{file_id}-") as folder:
        path, packed, changes = (Path(folder) / name for name in ("references", "packed", "changes.json"))
        _fetch_version(services, caller, before, path)
        changes.write_text(json.dumps(_places(services, path, before, asked.items)))
        result = services.reader.caption(path, changes, packed, most=most)
        stored = services.storage.put(key, packed)
    try:
        with services.writing.begin() as session:
            account = quotas.locked(session, caller.account)  # before the file, as a create call has it
            file = find_file(session, caller.account, file_id, lock=True)
            check_unused(session, file)
            if file.storage_key != before.storage_key:
                raise _changed()
            left = quotas.bytes_left(session, account, services.settings, apart_from=room.identifier)
            left.check(max(0, stored.bytes - file.bytes))
            room.release(session)
            if changed := stored.sha256 != file.sha256:
                stored_bytes.add(session, caller.account, stored.bytes - file.bytes)
                _replace(file, stored, result, profile)
                caller.note(session, "file.caption", file_id)
    except (AlbatrossError, SQLAlchemyError):
        services.storage.delete_prefix(key)  # nobody will ever ask for it
        raise
    with suppress(StorageUnavailable):  # then it goes with the file
        services.storage.delete_prefix(before.storage_key if changed else key)
    return file_object(file)


def _fetch_version(services: Services, caller: Caller, before: File, path: Path) -> None:
    """Fetch the bytes to edit; where another edit has replaced them meanwhile the file has changed, it is not gone."""
    try:
        _fetch(services, before, path)
    except NotFound:
        with services.reading.begin() as session:
            if find_file(session, caller.account, before.id).storage_key != before.storage_key:
                raise _changed() from None
        raise


def _captionable(services: Services, caller: Caller, file_id: str, asked: CaptionsRequest) -> tuple[File, Json | None]:
    """Return the file as it is now with its profile; raises where its captions must stay as they are."""
    with services.writing.begin() as session:
        before = _upload(find_file(session, caller.account, file_id, lock=True))
        check_unused(session, before)
        if before.kind != "images":
            raise InvalidInput("Only images have captions; upload changed texts as a new file.", code="no_captions")
        if asked.sha256 not in (None, before.sha256):
            raise _changed()
        return before, before.profile


def _replace(file: File, stored: StoredObject, result: Recaptioned, profile: Json | None) -> None:
    others = [row for row in file.findings if row["code"] not in CAPTION_CODES - {LOST_CAPTIONS}]
    file.storage_key, file.bytes, file.sha256 = stored.key, stored.bytes, stored.sha256
    file.findings = [*others, *result.findings]
    if profile is not None and len(profile["images"]) == len(result.captions):
        file.profile = profiles.with_captions(profile, result.captions)


def _places(services: Services, path: Path, file: File, asked: Sequence[CaptionChange]) -> dict[int, str]:
    """Return the new caption of each place; raise InvalidInput for an item that is not there, or is named twice."""
    named: list[str] = []
    if any(change.filename for change in asked):
        shown = services.reader.show(path, 0, file.items, thumbnails=False)
        named = [item.filename or "" for item in shown]
    index = Index(named)
    places: dict[int, str] = {}
    for number, change in enumerate(asked):
        place = _place(change, index, named, file.items, f"items.{number}")
        if place is None:
            message = f"items.{number} names no image of this file."
            raise InvalidInput(message, code="item_not_found", param=f"items.{number}")
        if place in places:
            message = f"items.{number} names an image that an earlier entry of items names too."
            raise InvalidInput(message, code="repeated_item", param=f"items.{number}")
        try:
            places[place] = caption(change.caption or "", f"items.{number}", services.settings)
        except UncleanText as error:
            message = f"The caption of items.{number} is not clean text: {error}."
            raise InvalidInput(message, code="encoding", param="items") from None
    return places


def _place(change: CaptionChange, index: Index, named: Sequence[str], items: int, param: str) -> int | None:
    if change.filename is not None:
        found = _named_as(change.filename, index)
        if len(found) > 1 or (found and named.count(found[0]) > 1):
            message = "Several images have this name; name the folder too, or use id."
            raise InvalidInput(message, code="ambiguous_filename", param=param)
        return named.index(found[0]) if found else None
    item = ITEM.fullmatch(change.id or "")
    place = int(item[1]) - 1 if item else items
    return place if place < items else None


def _named_as(filename: str, index: Index) -> list[str]:
    """Return the images that a name can mean, whole or shortened as long names are kept."""
    return index.find(filename) or index.find(names.kept(names.canonical(filename)), as_it_is=True)


def _item(item: ShownItem, findings: Sequence[Json]) -> ItemObject:
    name = item.filename or f"text {item.index + 1}"
    mine = [row for row in findings if name in _named(row, item.kind)]
    content = item.model_dump()
    return ItemObject(id=f"item-{item.index + 1}", findings=mine, **content)


def _named(finding: Json, kind: str) -> set[str]:
    """Return the items that a finding is about, as they are called now: an image is kept as PNG whatever it was."""
    told = [name for name in (finding.get("item"), finding.get("other"), *(finding.get("items") or ())) if name]
    return {f"{names.kept(name)}.png" if kind == "image" else name for name in told}


def _number(after: str) -> int:
    found = ITEM.fullmatch(after)
    if found is None:
        raise unknown_cursor()
    return int(found[1])


def _upload(file: File) -> File:
    if file.job_id is not None or not file.kind:
        raise NotFound("This file is a result; only uploads have items.", code="file_not_found", param="file_id")
    return file


def _fetch(services: Services, file: File, path: Path) -> None:
    if services.storage.fetch(file.storage_key, path).sha256 != file.sha256:
        raise StorageUnavailable("The store has damaged this file; try again later.", code="storage_unavailable")


def _folder(services: Services, account: str) -> Path:
    folder = services.uploads_of(account)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _changed() -> Conflict:
    return Conflict("The file was changed meanwhile; look at its items again.", code="file_changed")
