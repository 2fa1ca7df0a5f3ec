"""Receive one multipart upload: files go to disk as they come, the few form fields stay in memory."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, BinaryIO, ParamSpec, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request

from api.http.bodies import Body
from core.accounts.reservations import UPLOAD_SECONDS
from core.accounts.upload_room import UploadRoom
from core.errors import AlbatrossError, BodyTooLarge, InvalidInput, UnsupportedBody
from core.settings import Settings
from core.text_safety import visible_name, visible_path

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

P = ParamSpec("P")
T = TypeVar("T")
SHOWN_NAME = re.compile(r"[\w\[\]]{1,29}", re.ASCII)  # of a field that is not known: others are not repeated
MAX_PARTS = 7  # beside files
MAX_FIELD_BYTES = 1_000
OVERHEAD_BYTES = 100_000  # boundaries, part headers and fields on top of the file itself
FLUSH_BYTES = 1_000_000
TOO_LARGE = "A file is limited to {:,} bytes."
RENEW_SECONDS = UPLOAD_SECONDS / 4


@dataclass(frozen=True)
class Layout:
    """What a form may hold: fields, each with its most bytes, and files, each in a field named file."""

    fields: Mapping[str, int]
    most_files: int = 1


UPLOAD = Layout(
    dict.fromkeys(("purpose", "expires_after[anchor]", "expires_after[seconds]", "bat[strict]"), MAX_FIELD_BYTES)
)


@dataclass(frozen=True)
class Received:
    """A received file at `path` with the name its sender gave it, for display only; one of several has folders too."""

    path: Path
    filename: str


@dataclass(frozen=True)
class Upload:
    """The files of a form, in their order, and its other fields."""

    files: tuple[Received, ...]
    fields: dict[str, str]


@asynccontextmanager
async def receive(
    request: Request, settings: Settings, folder: Path, room: UploadRoom, layout: Layout = UPLOAD
) -> AsyncIterator[Upload]:
    """Stream the body to temporary files in `folder`, `max_file_bytes` in all, that go when the block ends.

    What comes has its room before it is written, and keeps it as long as the block lasts.
    """
    limit = settings.max_file_bytes
    body = Body(request, settings, limit + OVERHEAD_BYTES, TOO_LARGE.format(limit))
    disk, files = _Disk(), _Files(folder)
    try:
        await disk.run(files.write, (), 1)  # a disk that takes nothing is known before anything comes
        try:
            form = await _read_form(_boundary(request), body, _Form(limit, layout), files, disk, room)
        except AlbatrossError:
            await body.drain()
            raise
        shown = map(visible_name if layout.most_files == 1 else visible_path, form.filenames)
        yield Upload(tuple(map(Received, files.paths, shown)), form.fields)
    finally:
        with CancelScope(shield=True):
            await disk.run(files.remove)  # that takes a while too


@asynccontextmanager
async def holding(room: UploadRoom) -> AsyncIterator[UploadRoom]:
    """Renew what is set aside as long as the block lasts, and give it back then."""
    renewing, given_back = asyncio.create_task(_renew(room)), False
    try:
        yield room
        given_back = room.released
    finally:
        renewing.cancel()
        if not given_back:
            with CancelScope(shield=True), suppress(SQLAlchemyError):  # then it runs out by itself
                await to_thread.run_sync(_release, room)


async def _renew(room: UploadRoom) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with suppress(SQLAlchemyError):
            await to_thread.run_sync(room.renew)


def _release(room: UploadRoom) -> None:
    with room.sessions.begin() as session:
        room.release(session)


class _Disk:
    """Runs calls that a slow disk may block one after the other, in no thread that endpoints share or could lack."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(1)

    async def run(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Return what the call returns."""
        return await to_thread.run_sync(partial(call, *arguments, **named), limiter=self._limiter)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise UnsupportedBody("Send the file as multipart/form-data in a field named file.", code="unsupported_media")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise _broken("its boundary is missing or too long")
    return boundary


class _Files:
    """The files of a form on disk, in their order; only the last is open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: BinaryIO | None = None
        self.paths: list[Path] = []
        self.written = 0

    def write(self, pieces: Sequence[tuple[int, bytes]], count: int) -> None:
        """Write pieces, each to the file of its number, and see to it that `count` files are there."""
        for number, piece in pieces:
            self.written += self._file(number + 1).write(piece)
        if count:
            self._file(count)

    def finish(self) -> None:
        """Write out what is buffered."""
        if self._open is not None:
            self._open.close()

    def remove(self) -> None:
        """Take all of them away."""
        self.finish()
        for path in self.paths:
            path.unlink(missing_ok=True)

    def _file(self, count: int) -> BinaryIO:
        """Return the file of this number, the last that there is, or make it."""
        while len(self.paths) < count or self._open is None:
            self.finish()
            self._folder.mkdir(parents=True, exist_ok=True)
            number, path = mkstemp(dir=self._folder, prefix="upload-")
            self._open = os.fdopen(number, "wb")
            self.paths.append(Path(path))
        return self._open


async def _read_form(
    boundary: bytes, body: Body, form: "_Form", files: _Files, disk: _Disk, room: UploadRoom
) -> "_Form":
    if 0 < body.declared <= body.limit:  # too much is refused before it is sent
        await to_thread.run_sync(partial(room.cover, body.declared, ahead=False))
    try:
        parser = MultipartParser(boundary, form.callbacks(), max_header_count=8, max_header_size=16_000)
        async for chunk in body.chunks():
            if body.received > room.granted:
                await to_thread.run_sync(partial(room.cover, body.received, written=files.written))
            parser.write(chunk)
            if form.pending_bytes >= FLUSH_BYTES:
                await disk.run(files.write, form.take(), len(form.filenames))
    except FormParserError:
        raise _broken("it is not well-formed multipart/form-data") from None
    if not form.complete:
        raise _broken("it ends before its last boundary")
    if not form.filenames:
        raise InvalidInput("Send the file in a form field named file.", code="missing_file", param="file")
    await disk.run(files.write, form.take(), len(form.filenames))
    await disk.run(files.finish)
    return form


def _broken(reason: str) -> InvalidInput:
    return InvalidInput(f"The form could not be read: {reason}.", code="invalid_form")


@dataclass
class _Form:
    """What the parser's callbacks have seen so far."""

    limit: int
    layout: Layout
    filenames: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    pending: list[tuple[int, bytes]] = field(default_factory=list)  # each with the number of its file
    pending_bytes: int = 0
    complete: bool = False
    _received: int = 0
    _parts: int = 0
    _name: str = ""
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _value: bytearray = field(default_factory=bytearray)

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._start_content,
            "on_part_data": self._content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def take(self) -> list[tuple[int, bytes]]:
        """Hand over the files' pieces that wait to be written."""
        taken, self.pending, self.pending_bytes = self.pending, [], 0
        return taken

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > (most := MAX_PARTS + self.layout.most_files):
            raise _broken(f"it has more than {most} parts")
        self._name, self._value = "", bytearray()

    def _end_header(self) -> None:
        name, value = (bytes(part) for part in self._header)
        self._header = (bytearray(), bytearray())
        if name.lower() == b"content-disposition":
            options = parse_options_header(value)[1]
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            if self._name == "file":
                self._file(options.get(b"filename"))

    def _file(self, filename: bytes | None) -> None:
        if filename is None:
            raise InvalidInput("The field file must be a file with a name.", code="missing_file", param="file")
        if len(self.filenames) == (most := self.layout.most_files):
            message = "Send one file per request." if most == 1 else f"Send at most {most} files per request."
            raise InvalidInput(message, code="several_files", param="file")
        self.filenames.append(filename.decode("utf-8", "replace"))

    def _start_content(self) -> None:
        if self._name != "file" and self._name not in self.layout.fields:
            raise self._unknown_field()
        if self._name in self.fields:
            message = f"The form field {self._name} was sent twice."
            raise InvalidInput(message, code="repeated_parameter", param=self._name)

    def _content(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self._received += end - start
            if self._received > self.limit:
                raise BodyTooLarge(TOO_LARGE.format(self.limit), code="too_large", param="file")
            self.pending.append((len(self.filenames) - 1, data[start:end]))
            self.pending_bytes += end - start
        else:
            self._value += data[start:end]
            if len(self._value) > (most := self.layout.fields[self._name]):
                message = f"The form field {self._name} has more than {most:,} bytes."
                raise InvalidInput(message, code="invalid_form", param=self._name)

    def _unknown_field(self) -> InvalidInput:
        """Name the field, where it is fit to be shown."""
        known = ("file", *self.layout.fields)
        name = self._name if SHOWN_NAME.fullmatch(self._name) else None
        close = get_close_matches(self._name, known, 1) if name else []
        hint = f" (did you mean {close[0]}?)" if close else ""
        what = f"The form field {name} is not known{hint}" if name else "A form field is not known"
        return InvalidInput(f"{what}; send {', '.join(known)}.", code="unknown_parameter", param=name)

    def _end_part(self) -> None:
        if self._name != "file":
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self.complete = True
