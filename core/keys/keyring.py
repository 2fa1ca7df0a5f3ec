"""The service's own keys, the newest first: it signs and encrypts, the others still verify and decrypt.

They are what ALBATROSS_SIGNING_SECRET names, separated by commas, or the lines of `signing.key` in the data folder. The
file is read anew at each use: a key that is added is known to every process before anything is encrypted with it.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.disk import write_first, write_whole
from core.errors import Conflict, InvalidInput

MIN_CHARACTERS = 32  # 128 bits where they are hexadecimal digits
NEW_BYTES = 32
# what began before a key was added may still be stored with the one before: no transaction lasts so long
SETTLED_SECONDS = 60.0
BY_HAND = (
    "the keys are those of ALBATROSS_SIGNING_SECRET: put a new one behind them and restart every process, then put it "
    "in front and restart again"
)


@dataclass(frozen=True)
class Keyring:
    """Keys that were given, or else those of a file, which is made with a first one."""

    given: tuple[str, ...] = ()
    file: Path | None = None

    def read(self) -> tuple[str, ...]:
        """Return the keys, the newest first; raises InvalidInput where one can't be used."""
        if self.file is None:
            return parsed(self.given)
        try:
            if not self.file.exists():
                write_first(self.file, _lines([new_key()]))
            return parsed(self.file.read_text("ascii").splitlines())
        except ValueError:  # of bytes that are no text
            raise self._unusable("it holds no key") from None
        except OSError as error:
            raise self._unusable(f"it can't be read ({error.strerror})") from None
        except InvalidInput as error:
            raise self._unusable(error.message) from None

    def sign(self, message: bytes) -> str:
        """Return the HMAC-SHA256 of a message with the newest key."""
        return _hmac(self.read()[0], message)

    def verifies(self, message: bytes, signature: str) -> bool:
        """Tell whether one of the keys has signed the message."""
        known = [
            form for key in self.read() for form in (key, f"{key}\n")
        ]  # once the end of a file's line was part of it
        return any(hmac.compare_digest(_hmac(key, message).encode(), signature.encode()) for key in known)

    def add(self) -> None:
        """Put a new key in front of the others; raises InvalidInput where they are not kept in a file."""
        with self._changing() as file:
            write_whole(file, _lines([new_key(), *self.read()]))

    def forget_older(self) -> int:
        """Keep the newest key alone; returns how many are gone. Raises Conflict where it is too new for that."""
        with self._changing() as file:
            age = time.time() - file.stat().st_mtime
            newest, *older = self.read()
            if older and age < SETTLED_SECONDS:
                wait = f"try again in {SETTLED_SECONDS - age:.0f} s"
                words = f"The newest key was made just now; a call may still be storing with the one before: {wait}."
                raise Conflict(words, code="key_too_new")
            if older:
                write_whole(file, _lines([newest]))
            return len(older)

    @contextmanager
    def _changing(self) -> Iterator[Path]:
        """Let one process at a time change the file."""
        if self.file is None:
            raise InvalidInput(f"Nothing was changed: {BY_HAND}. See docs/operations.md.", code="keys_by_hand")
        self.read()  # makes the folder and the file
        folder = os.open(self.file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield self.file
        finally:
            os.close(folder)

    def _unusable(self, why: str) -> InvalidInput:
        advice = "restore it from a backup; without one delete it, and a new one is made"
        lost = "older receipts can't be checked then, and webhooks need new secrets"
        return InvalidInput(f"{self.file}: {why}; {advice} ({lost}).", code="unusable_key")


def new_key() -> str:
    """Make a key."""
    return secrets.token_hex(NEW_BYTES)


def parsed(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the keys among these, in their order; raises InvalidInput where there is none, or one is too short."""
    keys = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not keys:
        raise InvalidInput("it holds no key", code="no_key")
    if any(not key.isprintable() or len(key) < MIN_CHARACTERS for key in keys):
        raise InvalidInput(f"a key needs at least {MIN_CHARACTERS} characters that can be read", code="short_key")
    return keys


def _hmac(key: str, message: bytes) -> str:
    return hmac.new(key.encode(), message, "sha256").hexdigest()


def _lines(keys: Sequence[str]) -> bytes:
    return "".join(f"{key}\n" for key in keys).encode()
