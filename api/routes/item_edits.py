"""Change the items of an upload before training: captions, an item less, more items, another in the place of one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request

from api import file_versions
from api.dependencies import Caller, CallerDep, Services, ServicesDep, checked
from api.file_versions import Before, Bench
from api.http.bodies import read_json
from api.http.multipart import Upload, holding, receive
from api.http.openapi import body_of
from api.item_forms import MORE, MORE_FORM, OTHER, OTHER_FORM, is_form, is_strict, known_version
from api.item_places import ITEM, ItemPlaces
from api.schemas.files import FileObject
from api.schemas.items import KNOWN, CaptionChange, CaptionsRequest, Sha256, TextChange
from core.accounts.upload_room import UploadRoom
from core.database.tables import File
from core.errors import InvalidInput, NotFound
from core.findings import profiles
from core.findings.uploads import CAPTION_CODES
from core.references.files.caption_files import caption
from core.text_safety import UncleanText
from core.uploads.changes import Change, SentFile
from core.uploads.reader import Facts, Recaptioned

router = APIRouter(prefix="/v1/files", tags=["files"])
LOST_CAPTIONS = "caption_without_image"  # about what was not kept; an edit changes nothing of it


@dataclass(frozen=True)
class Asked:
    """What shall become of an upload; without an item, more is added behind all that there is."""

    action: str
    sha256: str | None
    item: str | None = None
    sent: tuple[SentFile, ...] = ()
    caption: str | None = None
    strict: bool = False


@router.post("/{file_id}/items", openapi_extra=body_of(CaptionsRequest, MORE_FORM))
async def change_items(request: Request, file_id: str, services: ServicesDep, caller: CallerDep) -> FileObject:
    """Set captions of some images (JSON), or add images or texts (a form), behind those that are there.

    Refused while a job that waits, runs or is paused uses the file.
    """
    await to_thread.run_sync(file_versions.look, services, caller.account, file_id)
    async with holding(services.upload_room(caller.account)) as room:
        if is_form(request):
            async with receive(request, services.settings, services.uploads_of(caller.account), room, MORE) as upload:
                more = Asked(
                    "file.add", known_version(upload.fields), sent=_sent(upload), strict=is_strict(upload.fields)
                )
                adding = partial(_revise, services, caller, file_id, more, room)
                return await to_thread.run_sync(adding, limiter=services.decoder_slots)
        changes = checked(CaptionsRequest, await read_json(request, services.settings))
        captioning = partial(_caption, services, caller, file_id, changes, room)
        return await to_thread.run_sync(captioning, limiter=services.decoder_slots)


@router.put("/{file_id}/items/{item_id:path}", openapi_extra=body_of(TextChange, OTHER_FORM))
async def replace_item(
    request: Request, file_id: str, item_id: str, services: ServicesDep, caller: CallerDep
) -> FileObject:
    """Put another image (a form) or text (JSON, or a form) in the place of one, named by its id or an image's name.

    Refused while a job that waits, runs or is paused uses the file.
    """
    await to_thread.run_sync(file_versions.look, services, caller.account, file_id)
    async with holding(services.upload_room(caller.account)) as room:
        if is_form(request):
            async with receive(request, services.settings, services.uploads_of(caller.account), room, OTHER) as upload:
                words = _clean(upload.fields.get("caption"), "caption", services)
                asked = Asked("file.replace", known_version(upload.fields), item_id, _sent(upload), words)
                replacing = partial(_revise, services, caller, file_id, asked, room)
                return await to_thread.run_sync(replacing, limiter=services.decoder_slots)
        text = checked(TextChange, await read_json(request, services.settings))
        rewriting = partial(_rewrite, services, caller, file_id, item_id, text, room)
        return await to_thread.run_sync(rewriting, limiter=services.decoder_slots)


@router.delete("/{file_id}/items/{item_id:path}")
async def delete_item(
    file_id: str,
    item_id: str,
    services: ServicesDep,
    caller: CallerDep,
    sha256: Annotated[Sha256 | None, Query(description=KNOWN)] = None,
) -> FileObject:
    """Take an item out of an upload, named by its id or an image's name; items behind it move up, ids with them.

    Refused while a job that waits, runs or is paused uses the file, and where nothing would be left.
    """
    async with holding(services.upload_room(caller.account)) as room:
        deleting = partial(_revise, services, caller, file_id, Asked("file.remove", sha256, item_id), room)
        return await to_thread.run_sync(deleting, limiter=services.decoder_slots)


def _revise(services: Services, caller: Caller, file_id: str, asked: Asked, room: UploadRoom) -> FileObject:
    return _revised(services, caller, file_versions.editable(services, caller, file_id, asked.sha256), asked, room)


def _revised(services: Services, caller: Caller, before: Before, asked: Asked, room: UploadRoom) -> FileObject:
    file = before.file
    if file.kind == "texts" and asked.caption is not None:
        raise InvalidInput("Only images have captions.", code="no_captions", param="caption")

    def make(bench: Bench) -> Facts:
        place = None if asked.item is None else _place_of(asked.item, ItemPlaces(services, bench.path, file))
        if not asked.sent and file.items == 1:
            message = "This is the only item of the file; delete the file itself, or put another item in its place."
            raise InvalidInput(message, code="last_item", param="item_id")
        change = Change(
            place=place,
            sent=list(asked.sent),
            caption=asked.caption,
            strict=asked.strict,
            findings=file.findings,
            profile=before.profile,
        )
        return services.reader.revise(bench.path, change, bench.packed, most=bench.most)

    return file_versions.write(services, caller, before, room, asked.action, make, _enter)


def _enter(file: File, facts: Facts) -> None:
    file.items, file.findings, file.profile = facts.items, facts.findings, facts.profile


def _rewrite(
    services: Services, caller: Caller, file_id: str, item_id: str, text: TextChange, room: UploadRoom
) -> FileObject:
    """Read the text as a file of one line."""
    before = file_versions.editable(services, caller, file_id, text.sha256)
    if before.file.kind != "texts":
        message = "An image takes another image in its place: send it as multipart/form-data in a field named file."
        raise InvalidInput(message, code="no_texts")
    row = text.row()
    line = file_versions.folder_of(services, caller.account) / f"{room.identifier}.jsonl"
    try:
        line.write_text(json.dumps(row))
        sent = (SentFile(path=line, filename="the text"),)
        return _revised(services, caller, before, Asked("file.replace", text.sha256, item_id, sent), room)
    except InvalidInput as error:
        error.param = next(iter(row)) if error.param == "file" else error.param
        raise
    finally:
        line.unlink(missing_ok=True)


def _place_of(item: str, places: ItemPlaces) -> int:
    place = places.of_id(item) if ITEM.fullmatch(item) else places.of_name(item, "item_id")
    if place is None:
        message = "There is no such item in this file; GET /v1/files/{id}/items lists those that there are."
        raise NotFound(message, code="item_not_found", param="item_id")
    return place


def _sent(upload: Upload) -> tuple[SentFile, ...]:
    return tuple(SentFile(path=file.path, filename=file.filename) for file in upload.files)


def _caption(services: Services, caller: Caller, file_id: str, asked: CaptionsRequest, room: UploadRoom) -> FileObject:
    before = file_versions.editable(services, caller, file_id, asked.sha256)
    if before.file.kind != "images":
        message = "Only images have captions; put another text in the place of one with PUT."
        raise InvalidInput(message, code="no_captions")

    def make(bench: Bench) -> Recaptioned:
        changes = bench.folder / "changes.json"
        places = ItemPlaces(services, bench.path, before.file)
        changes.write_text(json.dumps(_captions(services, places, asked.items)))
        return services.reader.caption(bench.path, changes, bench.packed, most=bench.most)

    enter = partial(_enter_captions, before)
    return file_versions.write(services, caller, before, room, "file.caption", make, enter)


def _enter_captions(before: Before, file: File, result: Recaptioned) -> None:
    others = [row for row in file.findings if row["code"] not in CAPTION_CODES - {LOST_CAPTIONS}]
    file.findings = [*others, *result.findings]
    if before.profile is not None and len(before.profile["images"]) == len(result.captions):
        file.profile = profiles.with_captions(before.profile, result.captions)


def _captions(services: Services, items: ItemPlaces, asked: Sequence[CaptionChange]) -> dict[int, str]:
    """Return the new caption of each place; raise InvalidInput for an item that is not there, or is named twice."""
    places: dict[int, str] = {}
    for number, change in enumerate(asked):
        param = f"items.{number}"
        named = change.filename is not None
        place = items.of_name(change.filename or "", param) if named else items.of_id(change.id or "")
        if place is None:
            raise InvalidInput(f"{param} names no image of this file.", code="item_not_found", param=param)
        if place in places:
            message = f"{param} names an image that an earlier entry of items names too."
            raise InvalidInput(message, code="repeated_item", param=param)
        places[place] = _clean(change.caption or "", param, services) or ""
    return places


def _clean(words: str | None, param: str, services: Services) -> str | None:
    """Return the clean lines of a caption; raise InvalidInput that names the parameter."""
    try:
        return None if words is None else caption(words, param, services.settings)
    except UncleanText as error:
        message = f"The caption of {param} is not clean text: {error}."
        raise InvalidInput(message, code="encoding", param=param.partition(".")[0]) from None
