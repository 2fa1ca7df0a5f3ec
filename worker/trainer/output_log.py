"""What a trainer prints besides the protocol, logged; what comes together is one entry, so that a dump stays whole."""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from typing import IO

log = logging.getLogger(__name__)
QUIET_SECONDS = 0.2
MAX_SECONDS = 1.0
MAX_BYTES = 1 << 16
FRAME = b'File "'  # of a stack, which is a reason to look; libraries print a lot else


class OutputLog:
    """Logs a trainer's standard error under the job that it works on."""

    def __init__(self, stream: IO[str]) -> None:
        self.job = ""
        self._stream = stream
        self._thread = threading.Thread(target=self._relay, name="utterances", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait until the last words are logged; the trainer must have ended."""
        self._thread.join(MAX_SECONDS)

    def _relay(self) -> None:
        said, began = b"", 0.0
        with self._stream as stream, selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                came = selector.select(QUIET_SECONDS if said else None)
                part = os.read(stream.fileno(), MAX_BYTES) if came else b""
                began = began if said else time.monotonic()
                said += part
                if not part or len(said) >= MAX_BYTES or time.monotonic() - began > MAX_SECONDS:
                    self._log(said)
                    said = b""
                if came and not part:
                    return

    def _log(self, said: bytes) -> None:
        text = said.decode(errors="replace").strip("\n")
        if text.strip():
            level = logging.WARNING if FRAME in said else logging.INFO
            log.log(level, "the trainer says:\n%s", text, extra={"job": self.job} if self.job else None)
