"""From a row of a file to the object on the wire."""

from api.schemas.files import FileBat, FileObject
from api.serializers.jobs import whole_seconds
from core.database.tables import File


def file_object(file: File) -> FileObject:
    """Show an upload or a result."""
    bat = FileBat(kind=file.kind, items=file.items, sha256=file.sha256, findings=file.findings, job_id=file.job_id)
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
