"""Have uploads read by another process, which may crash, hang or run out of memory without harm: core.uploads.decoder.

Nothing of an upload is decoded in the process that serves requests; Pillow is not even loaded in it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from core.disk import ROOT
from core.errors import InvalidInput, TooLarge, UnsupportedMedia
from core.runtime.printed.known_code import KnownCode
from core.runtime.printed.output_log import OutputLog
from core.settings import Settings
from core.uploads.changes import Change

# all that the decoders inherit: no address and no credential of the database, the broker or the store
INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
LIMITS = ("max_", "min_", "reader_")  # the settings that bound an upload begin with one of these
WALL_FACTOR = 2.0  # other processes want the cores too
LATE_SECONDS = 5.0  # then the process that should have killed the decoder hangs itself
MAX_ANSWER_BYTES = 8_000_000
ATTEMPTS = 2


class Facts(BaseModel):
    """What an upload holds; the references themselves are in the packed file."""

    kind: Literal["images", "texts"]
    items: Annotated[int, Field(ge=1)]
    findings: list[dict[str, str | list[str] | None]]
    profile: dict[str, Any]  # of core.findings.profiles


class ShownTurn(BaseModel):
    """What one side says in a conversation, in plain text."""

    role: str
    content: str
    cut: bool
    learned: bool


class ShownItem(BaseModel):
    """One item of an upload as it can be looked at."""

    index: Annotated[int, Field(ge=0)]
    kind: Literal["image", "text"]
    filename: str | None = None
    width: int | None = None
    height: int | None = None
    caption: str | None = None
    text: str | None = None
    cut: bool | None = None
    characters: int | None = None
    messages: list[ShownTurn] | None = None
    thumbnail: str | None = None


class Shown(BaseModel):
    """Some items of an upload."""

    shown: list[ShownItem]


class Recaptioned(BaseModel):
    """An upload with other captions; the images themselves are in the new packed file."""

    kind: Literal["images"]
    items: Annotated[int, Field(ge=1)]
    captions: list[str]
    findings: list[dict[str, str | list[str] | None]]


class Refusal(BaseModel):
    """Why an upload can't be used: an error of core.errors."""

    error: Literal["InvalidInput", "TooLarge", "UnsupportedMedia"]
    message: str
    code: str
    param: str | None


class Trouble(BaseModel):
    """What failed through no fault of the upload: a full disk."""

    errno: int


Answer: TypeAdapter[Facts | Shown | Recaptioned | Refusal | Trouble] = TypeAdapter(
    Facts | Shown | Recaptioned | Refusal | Trouble
)
A = TypeVar("A", Facts, Shown, Recaptioned)
ERRORS: Mapping[str, type[InvalidInput]] = {kind.__name__: kind for kind in (InvalidInput, TooLarge, UnsupportedMedia)}


class Reader:
    """Reads uploads in limited processes. Any thread may call it; the caller bounds how many do at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def start(self) -> None:
        """Start the process before it is needed; a fraction of a second passes until it can answer."""
        self._running()

    def close(self) -> None:
        """End the process and whatever it still decodes."""
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = None

    def read(self, path: Path, filename: str, packed: Path, *, strict: bool = False, most: int | None = None) -> Facts:
        """Read an upload and write what is kept of it to `packed`; where `strict`, one bad image refuses it.

        Raises InvalidInput, TooLarge or UnsupportedMedia; InvalidInput too where the decoder crashes or passes a limit;
        OSError for a full disk, which it is where more than `most` bytes are to be kept.
        """
        return self._ask(Facts, path, {"filename": filename, "packed": str(packed), "strict": strict, "most": most})

    def show(self, path: Path, start: int, count: int, *, thumbnails: bool) -> list[ShownItem]:
        """Return items of a packed file; raises as `read`."""
        options = {"start": start, "count": count, "thumbnails": thumbnails}
        return self._ask(Shown, path, {"work": "show", "options": options}).shown

    def caption(self, path: Path, changes: Path, packed: Path, *, most: int | None = None) -> Recaptioned:
        """Write a packed file anew with the captions of a JSON file, {place: words}; raises as `read`."""
        return self._ask(
            Recaptioned,
            path,
            {"packed": str(packed), "work": "caption", "options": {"changes": str(changes)}, "most": most},
        )

    def revise(self, path: Path, change: Change, packed: Path, *, most: int | None = None) -> Facts:
        """Write a packed file anew with an item less, more items or another one; raises as `read`."""
        described = packed.with_name("change.json")
        described.write_text(change.model_dump_json())
        more = {"packed": str(packed), "work": "revise", "options": {"change": str(described)}, "most": most}
        return self._ask(Facts, path, more, sum(file.path.stat().st_size for file in change.sent))

    def _ask(self, kind: type[A], path: Path, more: Mapping[str, object], sent: int = 0) -> A:
        cpu_seconds = self._settings.reader_cpu_seconds + (path.stat().st_size + sent) // 1_000_000
        task = {
            "path": str(path),
            "filename": "",
            "packed": "",
            "cpu_seconds": cpu_seconds,
            "seconds": WALL_FACTOR * cpu_seconds,
            **more,
        }
        content = json.dumps(task).encode()
        for _ in range(ATTEMPTS):
            server = self._running()
            answer = server.ask(content, WALL_FACTOR * cpu_seconds + LATE_SECONDS)
            if answer or server.alive():
                return _parsed(kind, answer)
        raise _unreadable()

    def _running(self) -> _Server:
        with self._lock:
            if self._server is None or not self._server.alive():
                if self._server is not None:
                    self._server.close()
                self._server = _Server(self._settings)
            return self._server


class _Server:
    """The running decoder and the socket to it. It ends when the socket is closed, by whatever."""

    def __init__(self, settings: Settings) -> None:
        limits = {name: value for name, value in settings.model_dump().items() if name.startswith(LIMITS)}
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(LATE_SECONDS)
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "core.uploads.decoder", str(theirs.fileno()), json.dumps(limits)],
                cwd=ROOT,
                env=environment | {"PYTHONPATH": str(ROOT)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        assert self._process.stderr is not None
        self._output = OutputLog(self._process.stderr, "decoder", KnownCode(settings.data))

    def alive(self) -> bool:
        """Tell whether the process still holds its end of the socket, on which it never says anything."""
        if self._control.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        return not poll.poll(0)

    def ask(self, task: bytes, seconds: float) -> bytes:
        """Return what the task's decoder answers; nothing where it died, or where the process itself did."""
        ours, theirs = os.pipe()
        with open(ours, "rb", buffering=0) as answer:
            try:
                socket.send_fds(self._control, [task], [theirs])
            except OSError:
                self._kill()
            finally:
                os.close(theirs)
            try:
                return _all(answer, time.monotonic() + seconds)
            except TimeoutError:
                self._kill()
                return b""

    def close(self) -> None:
        """End the process."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LATE_SECONDS)
        self._kill()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.end()


def _all(pipe: io.FileIO, deadline: float) -> bytes:
    """Return what comes until the other end is closed; TimeoutError where that is too late."""
    poll = select.poll()  # select() takes no descriptor above 1,023
    poll.register(pipe, select.POLLIN)
    content = bytearray()
    while len(content) <= MAX_ANSWER_BYTES:
        if not poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
            raise TimeoutError
        chunk = pipe.read(1 << 16)
        if not chunk:
            break
        content += chunk
    return bytes(content)


def _parsed(kind: type[A], answer: bytes) -> A:
    """Return what was asked for or raise the refusal; a decoder that was taken over may have written anything."""
    try:
        said = Answer.validate_json(answer[:MAX_ANSWER_BYTES])
    except ValidationError:
        raise _unreadable() from None
    if isinstance(said, Refusal):
        raise ERRORS[said.error](said.message, code=said.code, param=said.param)
    if isinstance(said, Trouble):
        raise OSError(said.errno, os.strerror(said.errno))
    if not isinstance(said, kind):
        raise _unreadable()
    return said


def _unreadable() -> InvalidInput:
    message = (
        "The file could not be read: decoding it crashed, or took too much time or memory. "
        "Save large pictures anew as PNG or JPEG, and upload them again: fewer pictures or texts at once."
    )
    return InvalidInput(message, code="unreadable", param="file")
