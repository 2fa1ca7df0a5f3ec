"""The process that decodes uploads, started and asked by core.uploads.reader.

It is run as `python -m core.uploads.decoder FILE_DESCRIPTOR LIMITS`.

It keeps the decoders loaded and forks a child for each upload. A decoder that is made to crash, to hang, or to eat
memory harms its own child and nothing else: this process looks at no upload itself, holds no connection and no secret,
and ends as soon as whoever started it has ended.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from core.errors import InvalidInput
from core.findings import profiles
from core.references import packing
from core.references.files import images
from core.references.files.formats import PICTURES
from core.references.items import ImageItem
from core.runtime.processes import die_with_parent, hide_memory
from core.settings import Settings
from core.uploads import editing, reading, revision
from core.uploads.changes import Change
from core.uploads.reading import JudgedReferences

TICK_SECONDS = 0.05
MAX_MESSAGE_BYTES = 65_536
MAX_OPEN_FILES = 32
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Task:
    """What to do with the file at `path`, in no more time than this; what is kept of it goes to `packed`."""

    path: str
    filename: str
    packed: str
    cpu_seconds: int
    seconds: float
    work: Literal["read", "show", "caption", "revise"] = "read"
    options: dict[str, Any] = field(default_factory=dict)  # of editing.show, or where it is written what to change
    strict: bool = False  # whether an image that can't be used refuses the whole upload
    most: int | None = None  # bytes that the disk has room for, where that is less than an upload may have


class ForkServer:
    """The children: one that waits for the next upload, because a fork takes time, and those that decode."""

    def __init__(self, control: socket.socket, limits: Settings) -> None:
        self._control, self._limits = control, limits
        self._ends_at: dict[int, float] = {}
        self._spare, self._to_spare = self._fork()

    def serve(self) -> None:
        """Give every task to a child, reap the ended, kill those whose time is up; returns at the end of file."""
        while True:
            if select.select([self._control], [], [], TICK_SECONDS if self._ends_at else None)[0]:
                message, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 1)
                if not message:
                    break
                self._give(message, descriptors[0])
            self._reap()
        for child in (self._spare, *self._ends_at):
            os.kill(child, signal.SIGKILL)

    def _give(self, message: bytes, answer: int) -> None:
        self._ends_at[self._spare] = time.monotonic() + json.loads(message)["seconds"]
        try:
            socket.send_fds(self._to_spare, [message], [answer])
        except OSError as error:  # somebody has killed it; the closed answer says so
            _say(f"the waiting decoder is gone: {error.strerror}")
        os.close(answer)  # now the end of the child is the end of its answer
        self._to_spare.close()
        self._spare, self._to_spare = self._fork()

    def _reap(self) -> None:
        for child in list(self._ends_at):
            if time.monotonic() > self._ends_at[child]:
                os.kill(child, signal.SIGKILL)  # never another process of this number: it has not been waited for
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                del self._ends_at[child]
                if status:
                    _say(f"a decoder ended with {os.waitstatus_to_exitcode(status)}")

    def _fork(self) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent, child = os.getpid(), os.fork()
        if child:
            theirs.close()
            return child, ours
        try:
            die_with_parent(parent)
            self._control.close()
            ours.close()
            decode(theirs, self._limits)
        except BaseException as error:  # nothing may go on as a second server
            _log_error(error)
            os._exit(1)
        os._exit(0)


def decode(tasks: socket.socket, limits: Settings) -> None:
    """Wait for the one task of this process, and answer it with JSON on the descriptor that comes with it."""
    _limit(limits)
    message, descriptors, _, _ = socket.recv_fds(tasks, MAX_MESSAGE_BYTES, 1)
    task = Task(**json.loads(message))
    _lower(resource.RLIMIT_CPU, task.cpu_seconds)
    _lower(resource.RLIMIT_FSIZE, task.most or limits.max_file_bytes)
    content = json.dumps(_outcome(task, limits)).encode()
    # left open: it shall end when this process does, whose memory is free by then
    with open(descriptors[0], "wb", closefd=False) as answer:
        answer.write(content)


def _limit(limits: Settings) -> None:
    """Take away what decoding does not need; a limit that is passed ends the child or fails the call."""
    _lower(resource.RLIMIT_AS, limits.reader_memory_bytes)
    _lower(resource.RLIMIT_FSIZE, limits.max_file_bytes)
    _lower(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _lower(resource.RLIMIT_NPROC, 0)  # nothing that could outlive it
    _lower(resource.RLIMIT_CORE, 0)


def _lower(limit: int, most: int) -> None:
    hard = resource.getrlimit(limit)[1]
    lowered = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (lowered, lowered))


def _outcome(task: Task, limits: Settings) -> dict[str, Any]:
    """Do the work; returns what came of it, or the error that the sender is to see."""
    try:
        if task.work == "show":
            return {"shown": editing.show(Path(task.path), limits, **task.options)}
        if task.work == "caption":
            path = Path(task.path)
            changes = editing.read_changes(Path(task.options["changes"]), editing.pictures_in(path))
            return editing.caption(path, Path(task.packed), changes)
        if task.work == "revise":
            asked = Change.model_validate_json(Path(task.options["change"]).read_bytes())
            return _kept(revision.revised(Path(task.path), asked, limits), task, limits)
        return _kept(reading.read(Path(task.path), task.filename, limits, strict=task.strict), task, limits)
    except InvalidInput as error:
        return _refusal(error)
    except OSError as error:
        if error.errno == errno.EFBIG and (task.most or limits.max_file_bytes) < limits.max_file_bytes:
            return {"errno": errno.ENOSPC}
        if error.errno == errno.EFBIG:
            return _refusal(images.too_much(limits))
        if error.errno in FULL:
            return {"errno": error.errno}
        raise


def _kept(read: JudgedReferences, task: Task, limits: Settings) -> dict[str, Any]:
    """Write what is kept of an upload, and return what the API keeps beside it."""
    packed = Path(task.packed)
    packing.pack(read, packed)
    if read.kind == "texts":  # a line grows when it is escaped: no job shall find out that it can't be read
        packing.read_packed(packed, task.filename, limits)
    told = [asdict(finding) for finding in read.findings]
    profile = profiles.of(read.items, read.prints, read.text_prints, read.blank)
    first = next((item for item in read.items if isinstance(item, ImageItem)), None)
    return {
        "kind": read.kind,
        "items": len(read.items),
        "findings": told,
        "profile": profile | ({"cover": editing.cover(first.png)} if first else {}),
    }


def _refusal(error: InvalidInput) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": error.message, "code": error.code, "param": error.param}


def _log_error(error: BaseException) -> None:
    """Tell where it happened and never the message, which may hold what the upload holds; no file is opened for it."""
    _say("an upload was not read")
    for frame, line in traceback.walk_tb(error.__traceback__):
        print(f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}', file=sys.stderr)
    print(f"{type(error).__module__}.{type(error).__qualname__}", file=sys.stderr, flush=True)


def _say(words: str) -> None:
    print(f"reader: {words}", file=sys.stderr, flush=True)


def _warm(limits: Settings) -> None:
    """Read pictures of our own, so that every child inherits what a decoder loads at its first use."""
    with tempfile.TemporaryDirectory() as folder:
        path, side = Path(folder) / "warm", max(limits.min_image_side, 16)
        for format in PICTURES:
            Image.radial_gradient("L").resize((side, side)).save(path, format)
            packing.pack(reading.read(path, "warm", limits), Path(folder) / "packed")
            (Path(folder) / "packed").rename(path)
            reading.read(path, "warm", limits)


def main() -> None:
    hide_memory()  # it holds no secret, but what others have sent
    limits = Settings(**json.loads(sys.argv[2]))
    _warm(limits)
    gc.freeze()  # else a child that collects copies the pages that it shares
    with socket.socket(fileno=int(sys.argv[1])) as control:
        ForkServer(control, limits).serve()


if __name__ == "__main__":
    main()
