"""OpenAI's files: uploads with references, and the results of jobs."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import file_versions
from api.dependencies import AccountDep, AfterDep, Caller, CallerDep, OrderDep, Services, ServicesDep
from api.http import downloads
from api.http.multipart import Upload, holding, receive
from api.http.pagination import page, plausible, rows_after, unknown_cursor
from api.item_forms import is_strict
from api.lookups import check_replaceable, check_unused, files_of, find_file, place_of_erased
from api.schemas.erasures import Deleted
from api.schemas.files import FileObject
from api.schemas.shared import Page
from api.serializers.erasures import deleted_object
from api.serializers.files import file_object, file_objects
from core.accounts import quotas, stored_bytes
from core.accounts.upload_room import UploadRoom
from core.database.engine import now
from core.database.tables import File, new_id
from core.erasure import request as erasing
from core.errors import AlbatrossError, InvalidInput
from core.storage.interface import StoredObject
from core.storage.keys import file_key
from core.uploads.reader import Facts

router = APIRouter(prefix="/v1/files", tags=["files"])
PURPOSE = "fine-tune"
MIN_KEPT_SECONDS, MAX_KEPT_SECONDS = 3600, 2_592_000
EXTENSIONS = {"images": ".zip", "texts": ".jsonl"}
UPLOAD_FORM = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"const": PURPOSE},
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": {"type": "integer", "minimum": MIN_KEPT_SECONDS, "maximum": MAX_KEPT_SECONDS},
        "bat[strict]": {"type": "boolean", "default": False, "description": "refuse a set with an image that is bad"},
    },
}


@router.post("", openapi_extra={"requestBody": {"content": {"multipart/form-data": {"schema": UPLOAD_FORM}}}})
async def create_file(request: Request, services: ServicesDep, caller: CallerDep) -> FileObject:
    """Take an image, a zip of images, JSONL or text; read it at once, and keep only what was understood."""
    async with (
        holding(services.upload_room(caller.account)) as room,
        receive(request, services.settings, services.uploads_of(caller.account), room) as upload,
    ):
        kept_seconds, strict = _check_form(upload.fields), is_strict(upload.fields)
        keeping = partial(_keep, services, caller, upload, room, kept_seconds, strict)
        return await to_thread.run_sync(keeping, limiter=services.decoder_slots)


@router.get("")
def list_files(
    services: ServicesDep,
    account: AccountDep,
    after: AfterDep = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: OrderDep = "desc",
    purpose: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[FileObject]:
    """List files, the newest first unless asked otherwise."""
    with services.reading.begin() as session:
        statement = files_of(session, account)
        if purpose is not None:
            statement = statement.where(File.purpose == purpose)
        last = _position(session, account, after) if after is not None else None
        rows, more = rows_after(
            session, statement, (File.created_at, File.id), last=last, limit=limit, descending=order == "desc"
        )
        return page(file_objects(session, account, rows), more)


@router.get("/{file_id}")
def retrieve_file(file_id: str, services: ServicesDep, account: AccountDep) -> FileObject:
    """Show one file."""
    with services.reading.begin() as session:
        return file_object(session, find_file(session, account, file_id))


@router.delete("/{file_id}")
def delete_file(file_id: str, services: ServicesDep, caller: CallerDep) -> Deleted:
    """Erase a file for good, unless an active job needs it or it is all that is left of an adapter."""
    with services.writing.begin() as session:
        check_replaceable(session, find_file(session, caller.account, file_id))
        quotas.locked(session, caller.account)  # before the file, as a create call has it
        file = find_file(session, caller.account, file_id, lock=True)
        check_unused(session, file)
        erasure = erasing.request(session, caller.account, "file", file_id)
        caller.note(session, "file.delete", file_id)
    return deleted_object(erasure, "file", completed=services.erase_now(erasure.id))


@router.get("/{file_id}/content", response_class=Response)
def read_content(
    file_id: str, services: ServicesDep, account: AccountDep, redirect: downloads.RedirectDep = True
) -> Response:
    """Send the bytes: of an upload what is kept of it, of a result the result."""

    def sent() -> Response:
        with services.reading.begin() as session:
            file = find_file(session, account, file_id)
        extension = EXTENSIONS.get(file.kind or "")
        name = f"{Path(file.filename).stem}{extension}" if extension else file.filename
        return downloads.send(services.storage, file.storage_key, name, file.bytes, file.sha256, redirect=redirect)

    return file_versions.through_edits(sent)


def _position(session: Session, account: str, file_id: str) -> tuple[float, str]:
    if not plausible(file_id):
        raise unknown_cursor()
    # an item that was deleted between two pages still has its place
    row = session.execute(
        select(File.created_at, File.id).where(File.account_id == account, File.id == file_id)
    ).one_or_none()
    if row is None:
        return place_of_erased(session, account, file_id)
    return row.created_at, row.id


def _check_form(fields: dict[str, str]) -> int | None:
    if fields.get("purpose") != PURPOSE:
        raise InvalidInput(
            f"Send the form field purpose with the value {PURPOSE}, the only one that is served.",
            code="invalid_purpose",
            param="purpose",
        )
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    valid = anchor == "created_at" and seconds is not None and seconds.isascii() and seconds.isdecimal()
    if not valid or len(str(seconds)) > 7 or not MIN_KEPT_SECONDS <= int(str(seconds)) <= MAX_KEPT_SECONDS:
        raise InvalidInput(
            "expires_after takes anchor=created_at and seconds from 3600 to 2592000.",
            code="invalid_expires_after",
            param="expires_after",
        )
    return int(str(seconds))


def _keep(
    services: Services, caller: Caller, upload: Upload, room: UploadRoom, kept_seconds: int | None, strict: bool
) -> FileObject:
    file_id = new_id("file-")
    most = room.for_writing(services.settings.max_file_bytes, services.copies_on_disk)
    (sent,) = upload.files
    with tempfile.TemporaryDirectory(dir=sent.path.parent) as folder:
        packed = Path(folder) / "references"
        facts = services.reader.read(sent.path, sent.filename, packed, strict=strict, most=most)
        stored = services.storage.put(file_key(caller.account, file_id), packed)
    try:
        with services.writing.begin() as session:
            account = quotas.locked(session, caller.account)
            left = quotas.bytes_left(session, account, services.settings, apart_from=room.identifier)
            left.check(stored.bytes)
            room.release(session)
            file = _row(session, caller.account, file_id, upload, facts, stored, kept_seconds)
            session.add(file)
            caller.note(session, "file.create", file_id)
            stored_bytes.add(session, caller.account, file.bytes)
            answer = file_object(session, file)
    except (AlbatrossError, SQLAlchemyError):
        services.storage.delete_prefix(stored.key)  # nobody will ever ask for it
        raise
    return answer


def _row(
    session: Session,
    account: str,
    file_id: str,
    upload: Upload,
    facts: Facts,
    stored: StoredObject,
    kept_seconds: int | None,
) -> File:
    time = now(session)
    return File(
        id=file_id,
        account_id=account,
        filename=upload.files[0].filename,
        purpose=PURPOSE,
        bytes=stored.bytes,
        sha256=stored.sha256,
        storage_key=stored.key,
        status="processed",
        kind=facts.kind,
        items=facts.items,
        findings=facts.findings,
        profile=facts.profile,
        created_at=time,
        expires_at=time + kept_seconds if kept_seconds else None,
    )
