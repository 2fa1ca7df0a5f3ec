"""Serve signed links to locally stored files, as an object store would."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response

from api.dependencies import ServicesDep
from core.errors import NotFound
from core.storage.local import LocalStorage
from core.text_safety import visible_name

router = APIRouter(prefix="/v1/storage", tags=["storage"])
Signature = Annotated[str, Query(max_length=128)]


@router.get("/{key:path}", response_class=FileResponse)
def read_signed(
    key: str,
    services: ServicesDep,
    expires: int,
    signature: Signature,
    filename: Annotated[str | None, Query(max_length=255)] = None,
) -> Response:
    """Send the file that the link was signed for, until it expires."""
    if not isinstance(services.storage, LocalStorage):
        raise NotFound("Files are not served from here.", code="not_found")
    path = services.storage.verify("GET", key, expires, signature, filename)
    name = visible_name(filename) if filename else path.name
    return FileResponse(path, media_type="application/octet-stream", filename=name)
