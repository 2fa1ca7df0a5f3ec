"""Send stored bytes: by a redirect to the object store where clients can reach it, through this process otherwise."""

import re
from collections.abc import Iterator
from typing import Annotated, BinaryIO
from urllib.parse import quote

from fastapi import Query
from starlette.responses import RedirectResponse, Response, StreamingResponse

from core.storage.interface import CHUNK, Storage

URL_SECONDS = 300
RedirectDep = Annotated[
    bool,
    Query(description="false: the bytes come from here, for what may not follow to another host, such as a web page"),
]


def send(storage: Storage, key: str, filename: str, size: int, sha256: str, *, redirect: bool) -> Response:
    """Answer with the file as an attachment named `filename`; NotFound where its bytes are gone."""
    url = _public_url(storage, key, filename) if redirect else None
    if url is not None:
        return RedirectResponse(url, 307)
    headers = {"Content-Length": str(size), "Content-Disposition": attachment(filename), "ETag": f'"{sha256}"'}
    return StreamingResponse(pieces(storage.open(key)), headers=headers, media_type="application/octet-stream")


def attachment(filename: str) -> str:
    """Name a download: in plain ASCII for programs that know no more, such as curl -OJ, and as it is for the others."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=utf-8''{quote(filename)}"


def _public_url(storage: Storage, key: str, filename: str) -> str | None:
    """Return a presigned URL outside this process, if there is one; our own signed paths would cost a round trip."""
    url = storage.url(key, seconds=URL_SECONDS, filename=filename)
    return url if url and url.startswith("http") else None


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield an open file piece by piece, and close it."""
    with file:
        while piece := file.read(CHUNK):
            yield piece
