"""Each reader of untrusted bytes as one call that says whether the bytes were taken; any other end is a bug."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker
from starlette.requests import Request
from starlette.types import Message

from api.http.bodies import clean_text, parse_json
from api.http.multipart import UPLOAD, Layout, holding, receive
from core import text_safety
from core.accounts.upload_room import UploadRoom
from core.database.engine import connect, now, sessions
from core.database.tables import Account, Table
from core.errors import InvalidInput
from core.references import items, packing
from core.references.faults import MAX_TOLD
from core.settings import Settings
from core.uploads import reading

Reader = Callable[[bytes], bool]
LIMIT = 20_000  # bytes of an upload
_kept: list[tempfile.TemporaryDirectory[str]] = []  # until this process ends


def limits(folder: Path) -> Settings:
    """Limits that small files reach."""
    return Settings(
        data=folder,
        max_file_bytes=200_000,
        max_image_bytes=100_000,
        max_image_pixels=40_000,
        max_image_side=1_000,
        max_images=5,
        max_items=50,
        max_text_bytes=200_000,
        max_caption_characters=2_000,
    )


@contextmanager
def file_reader() -> Iterator[Reader]:
    """Read an upload; what is taken can be packed and unpacked, and is read again as it was each time."""
    with tempfile.TemporaryDirectory() as folder:
        path, packed = Path(folder) / "upload", Path(folder) / "packed"
        small = limits(Path(folder))

        def read(content: bytes) -> bool:
            path.write_bytes(content)
            try:
                first = reading.read(path, "upload.bin", small)
            except InvalidInput as error:
                return _said_well(error)
            assert first.items
            packing.pack(first, packed)
            again = packing.read_packed(packed, "packed", small)
            with tempfile.TemporaryDirectory() as trainers:
                packing.write_folder(again, Path(trainers))
                last = packing.read_folder(Path(trainers))
            for kept in (again, last):
                if first.kind == "texts":
                    assert kept.items == first.items
                else:
                    assert [pixels(item) for item in kept.items] == [pixels(item) for item in first.items]
            return True

        yield read


def _said_well(error: InvalidInput) -> bool:
    """Check that the message is one clean line of moderate length for each fault, whatever it is about."""
    lines = error.message.split("\n")
    assert text_safety.UNCLEAN.search(error.message) is None
    assert len(lines) <= 2 + MAX_TOLD
    assert all(line and len(line) < 1_000 for line in lines)
    return False


def pixels(item: object) -> tuple[object, object]:
    assert isinstance(item, items.ImageItem)
    return item.sha256, item.caption


@contextmanager
def form_reader(
    kind: str = "multipart/form-data; boundary=the-boundary", piece: int = 1_000, layout: Layout = UPLOAD
) -> Iterator[Reader]:
    """Receive a form in pieces; nothing stays behind."""
    with tempfile.TemporaryDirectory() as name, asyncio.Runner() as runner:
        folder = Path(name)

        def read(content: bytes) -> bool:
            try:
                size = runner.run(_received(content, folder, kind, piece, layout))
            except InvalidInput as error:
                return _said_well(error)
            finally:
                assert list(folder.iterdir()) == []
            assert size <= LIMIT
            return True

        yield read


@cache
def _account() -> sessionmaker[Session]:
    """Open a database with one account, whose uploads have their bytes set aside as they come."""
    _kept.append(folder := tempfile.TemporaryDirectory())
    engine = connect(f"sqlite:///{folder.name}/forms.db")
    Table.metadata.create_all(engine)
    opened = sessions(engine)
    with opened.begin() as session:
        session.add(Account(id="acct-1", name="forms", created_at=now(session)))
    return opened


async def _received(content: bytes, folder: Path, kind: str, piece: int, layout: Layout) -> int:
    pieces = [content[at : at + piece] for at in range(0, len(content), piece)] or [b""]

    async def next_piece() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    settings = Settings(data=folder, max_file_bytes=LIMIT)
    room = UploadRoom(_account(), settings, "acct-1")
    headers = [(b"content-type", kind.encode("latin-1", "replace"))]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    async with holding(room), receive(Request(scope, next_piece), settings, folder, room, layout) as upload:
        assert 1 <= len(upload.files) <= layout.most_files
        for sent in upload.files:
            folders = 0 if layout.most_files == 1 else 4
            assert sent.filename.count("/") <= folders
            assert all(0 < len(part) <= 100 and part.strip(".") for part in sent.filename.split("/"))
            assert text_safety.UNCLEAN.search(sent.filename) is None
        return sum(sent.path.stat().st_size for sent in upload.files)


@contextmanager
def json_reader() -> Iterator[Reader]:
    """Parse a body; what is taken holds only what every store can hold."""

    def read(content: bytes) -> bool:
        try:
            value = parse_json(content)
        except InvalidInput as error:
            return _said_well(error)
        assert clean_text(str(value).replace("\\", ""))
        return True

    yield read
