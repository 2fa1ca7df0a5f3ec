"""The files of the web page: read into memory once, told by their content, and fenced in for browsers."""

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/vnd.microsoft.icon",
    ".woff2": "font/woff2",
}
PACKED_ALREADY = (".png", ".webp", ".woff2")
SMALLEST_PACKED = 500  # bytes; of less nothing is won
# No inline script or style, nothing from another host, no frame around the page: a caption that slipped through as
# markup could neither run nor call home.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
VERSION_IN_NAME = re.compile(r"-\d+(\.\d+)+\.")
ASK_AGAIN = "no-cache"  # kept, and asked for by its ETag: a new version of the service is a new page at once
FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class StaticFile:
    """One file as it is sent: plain, and compressed where that makes it smaller."""

    media_type: str
    plain: bytes
    packed: bytes | None
    digest: str
    caching: str

    @classmethod
    def read(cls, path: Path) -> "StaticFile":
        """Read the file; its name says what it is."""
        plain = path.read_bytes()
        packs = path.suffix not in PACKED_ALREADY and len(plain) >= SMALLEST_PACKED
        caching = FOR_GOOD if VERSION_IN_NAME.search(path.name) else ASK_AGAIN
        packed = gzip.compress(plain, mtime=0) if packs else None
        return cls(MEDIA_TYPES[path.suffix], plain, packed, hashlib.sha256(plain).hexdigest(), caching)

    def answer(self, request: Request) -> Response:
        """Send the file, or 304 where the browser holds it; the two forms have a strong ETag each."""
        packs = self.packed is not None and takes_gzip(request.headers.get("accept-encoding", ""))
        tag = f'"{self.digest}-gzip"' if packs else f'"{self.digest}"'
        headers = {**HEADERS, "ETag": tag, "Cache-Control": self.caching}
        if tag in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        if packs:
            headers["Content-Encoding"] = "gzip"
        body = self.packed if packs else self.plain
        return Response(body, headers=headers, media_type=self.media_type)


class StaticFiles:
    """All files of a folder by their path in it: what is not in this table has no address, wherever it lies."""

    def __init__(self, folder: Path) -> None:
        self._files = {path.relative_to(folder).as_posix(): StaticFile.read(path) for path in _sendable(folder)}

    def get(self, path: str) -> StaticFile | None:
        """Return the file at a path as it was when the process started."""
        return self._files.get(path)


def takes_gzip(accepted: str) -> bool:
    """Tell whether a browser's Accept-Encoding takes gzip, which `q=0` refuses."""
    for choice in accepted.lower().split(","):
        name, _, weight = choice.partition(";")
        if name.strip() == "gzip":
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight)
    return False


def _sendable(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in MEDIA_TYPES:
            yield path


def _tags(header: str) -> set[str]:
    """Return the ETags that a browser holds; a proxy may have marked one as weak by compressing on its own."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
