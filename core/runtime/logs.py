"""One line of log for each thing that happened: text for people or JSON for programs, and never anybody's content.

Fields of a JSON line: time, level, process, logger, message; worker, job and request where known; traceback.

Our own lines are written so that they hold none. Of a library's line only what its author has written is repeated, and
the numbers: what it filled in may be anybody's.
"""

from __future__ import annotations

import json
import linecache
import logging
import os
import re
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from core.errors import AlbatrossError
from core.runtime.printed.known_code import is_code_word
from core.settings import Settings

OURS = ("albatross", "api", "core", "worker")  # all others speak only when something is wrong
FIELDS = ("worker", "job", "request")
# messages of these kinds speak of code and machines; those of others, ValueError above all, quote what they were given
SPEAKING = (RuntimeError, ImportError, AttributeError, NameError, TypeError, AssertionError, MemoryError)
# what these quote are names of Python's own and of code that was to be loaded
NAMING = (ImportError, NameError)
QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`""")
PLAIN_TYPES = frozenset(f"'{name}'" for name in ("NoneType", "str", "bytes", "int", "float", "list", "dict", "tuple"))
HIDDEN = "..."
MAX_CHARACTERS = 1000
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))
log = logging.getLogger("albatross")


@contextmanager
def bound(**fields: str) -> Iterator[None]:
    """Add fields to every line that this thread or task logs in the block."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def configure(settings: Settings, process: str, **fields: str) -> None:
    """Send all logs of this process to standard error, with these fields in every line."""
    handler = logging.StreamHandler(sys.stderr)
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter((TextLines if as_text else JsonLines)({"process": process, **fields}))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"  # addresses hold ids and filters
    warnings.showwarning = _show_warning
    logging.raiseExceptions = False  # it would print the arguments of a line that can't be written
    sys.excepthook = _uncaught
    threading.excepthook = lambda arguments: _uncaught(
        arguments.exc_type, arguments.exc_value or arguments.exc_type(), arguments.exc_traceback
    )


def traceback_of(error: BaseException) -> str:
    """Write where an error came from: kinds and places in the code, but no words that may quote somebody's content."""
    parts: list[str] = []
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = "".join(traceback.format_list(traceback.extract_tb(current.__traceback__)))
        parts.append(f"{frames}{_description(current)}")
        inner = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or inner
    return "\nwhich led to\n".join(reversed(parts))


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII, so that no message can begin a line of its own."""

    def __init__(self, fixed: Mapping[str, str]) -> None:
        super().__init__()
        self._fixed = fixed

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), **self._fixed, "logger": record.name}
        line |= {"message": _message(record), **_fields(record)}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["traceback"] = traceback_of(error)
        return json.dumps(line)


class TextLines(logging.Formatter):
    """A line for people; what belongs to it but needs more lines is indented."""

    def __init__(self, fixed: Mapping[str, str]) -> None:
        super().__init__()
        self._process = fixed["process"]

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and more that are indented where there is a traceback."""
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        words = f"{time} {record.levelname} {self._process}: {_message(record)}{fields}"
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            words += "\n" + traceback_of(error)
        return CONTROL.sub(lambda found: ascii(found[0])[1:-1], words).replace("\n", "\n    ")


def _fields(record: logging.LogRecord) -> dict[str, str]:
    given = {name: str(vars(record)[name]) for name in FIELDS if name in vars(record)} if _is_ours(record) else {}
    return {**_bound.get(), **given}


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in OURS


def _message(record: logging.LogRecord) -> str:
    return (record.getMessage() if _is_ours(record) else _template(record)).strip("\n")


def _template(record: logging.LogRecord) -> str:
    """Return a library's message with the numbers in it and nothing else that was filled in.

    A message that was put together before is not repeated: then its place in the code says what it was about.
    """
    words = record.msg if isinstance(record.msg, str) else ""
    if record.args:
        try:
            return words % _numbers(record.args)
        except (TypeError, ValueError, KeyError):
            return words
    if words and _stands_in_code(words, record.pathname):
        return words
    return f"a message that is not repeated here, of {record.module}:{record.lineno}"


def _numbers(values: object) -> Any:
    match values:
        case bool() | int() | float() | None:
            return values
        case tuple():
            return tuple(map(_numbers, values))
        case Mapping():
            return {key: _numbers(value) for key, value in values.items()}
        case BaseException():
            return _Hidden(type(values).__name__)
    return _Hidden()


class _Hidden:
    """Stands for a value in a message."""

    def __init__(self, name: str = HIDDEN) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


def _stands_in_code(words: str, path: str) -> bool:
    source = "".join(linecache.getlines(path))
    return any(f"{quote}{words.strip()}" in source for quote in "'\"")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """Log where a warning comes from; its words may quote values."""
    log.warning("%s of %s:%d", category.__name__, filename, lineno)


def _description(error: BaseException) -> str:
    kind, words = f"{type(error).__module__}.{type(error).__qualname__}", _words(error)[:MAX_CHARACTERS]
    return f"{kind}: {words}" if words else kind


def _words(error: BaseException) -> str:
    match error:
        case AlbatrossError():
            return error.code if is_code_word(error.code) else ""
        case ValidationError():
            kinds = sorted({problem["type"] for problem in error.errors(include_url=False, include_input=False)})
            return f"{error.title}: {', '.join(kinds)}"
        case DBAPIError():
            return f"{type(error.orig).__name__} {getattr(error.orig, 'sqlstate', None) or ''}".strip()
        case socket.gaierror():
            return error.strerror or ""
        case OSError():
            return os.strerror(error.errno) if error.errno else ""
        case BaseExceptionGroup():
            return ", ".join(map(_description, error.exceptions))
    answer = getattr(error, "response", None)  # of an S3 server
    if isinstance(answer, dict):
        return str(answer.get("Error", {}).get("Code", ""))
    if not isinstance(error, SPEAKING) or type(error).__module__ != "builtins":
        return ""
    return str(error) if isinstance(error, NAMING) else QUOTED.sub(_plain, str(error))


def _plain(quoted: re.Match[str]) -> str:
    return quoted[0] if quoted[0] in PLAIN_TYPES else f"'{HIDDEN}'"


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("ended by an error that nobody expected", exc_info=(kind, error, trace))
