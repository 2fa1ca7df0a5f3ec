"""From a row of a file to the object on the wire."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from api.schemas.files import FileBat, FileObject
from api.serializers.jobs import whole_seconds
from core.database.tables import File
from core.erasure.unused_uploads import Use, Uses, uses


def file_objects(session: Session, account: str, files: Sequence[File]) -> list[FileObject]:
    """Show uploads and results of an account; uploads say how many jobs use them, which one query tells of all."""
    uploads = any(file.job_id is None for file in files)
    used = uses(session, account) if uploads else Uses()
    return [_file_object(file, used[file.id]) for file in files]


def file_object(session: Session, file: File) -> FileObject:
    """Show one."""
    return file_objects(session, file.account_id, [file])[0]


def _file_object(file: File, use: Use) -> FileObject:
    bat = FileBat(
        kind=file.kind,
        items=file.items,
        sha256=file.sha256,
        findings=file.findings,
        job_id=file.job_id,
        used_by=use.jobs,
        in_use=use.active,
    )
    return FileObject(
        id=file.id,
        bytes=file.bytes,
        created_at=int(file.created_at),
        expires_at=whole_seconds(file.expires_at),
        filename=file.filename,
        purpose=file.purpose,
        status=file.status,
        status_details=file.status_details,
        bat=bat,
    )
