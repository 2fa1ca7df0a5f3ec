"""Which places and names belong to the code that is installed here: of what others print, only such may be repeated.

Whoever prints may lie, so nothing is taken from its words: a place is a line of a file that lies here, a name stands in
that file. What was sent to this service is in none of them.
"""

from __future__ import annotations

import builtins
import os
import re
import sysconfig
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

from core.disk import ROOT

SHARED_FOLDERS = ("/tmp", "/var/tmp", "/run", "/dev/shm")
LONGEST_PATH, LARGEST_FILE = 500, 2_000_000
DEFINED = re.compile(r"\b(?:def|class)\s+(\w+)", re.ASCII)
FROZEN = re.compile(r"<frozen ([a-z_]+(?:\.[a-z_]+)*)>")
UNNAMED = frozenset({"<module>", "<lambda>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"})
CODE = re.compile(r"""["']([a-z][a-z0-9_]*)["']""")
OUR_FOLDERS = ("api", "core", "worker")
# kinds that no Python file defines
COMPILED = frozenset(
    {
        "torch.OutOfMemoryError",
        "torch.AcceleratorError",
        "torch.cuda.OutOfMemoryError",
        "torch._C._LinAlgError",
        "safetensors_rust.SafetensorError",
        "pydantic_core._pydantic_core.ValidationError",
        "struct.error",
        "zlib.error",
        "_pickle.UnpicklingError",
    }
)


class KnownCode:
    """This service's code, its libraries and Python's own; `hidden` are folders inside which nothing is code."""

    def __init__(self, *hidden: Path) -> None:
        paths = sysconfig.get_paths()
        given = [str(ROOT), *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))]
        self._roots = _both(given)
        # read, not asked of tempfile, which would write a file to try the folder
        temporary = os.environ.get("TMPDIR") or SHARED_FOLDERS[0]
        self._hidden = _both([*map(str, hidden), temporary, *SHARED_FOLDERS])

    def place(self, path: str, line: int, name: str) -> bool:
        """Tell whether a file of that path lies here as code, has such a line, and defines something of that name."""
        source = self._source(path)
        if source is None or not 1 <= line <= source.count("\n") + 1:
            return False
        return name in UNNAMED or name in _names(source)

    def line(self, path: str, line: int) -> str:
        """Return a line of a place, without its indentation; nothing where there is none."""
        lines = (self._source(path) or "").split("\n")
        return lines[line - 1].strip() if 1 <= line <= len(lines) else ""

    def kind(self, dotted: str) -> bool:
        """Tell whether a class of errors or warnings is called so, with or without the name of its module."""
        found = getattr(builtins, dotted.removeprefix("builtins."), None)
        if isinstance(found, type) and issubclass(found, BaseException):
            return True
        module, _, name = dotted.rpartition(".")
        return dotted in COMPILED or bool(module and self._defines(module, name))

    def _defines(self, module: str, name: str) -> bool:
        for root in self._roots:
            for ending in (".py", "/__init__.py"):
                source = self._source(f"{root}/{module.replace('.', '/')}{ending}")
                if source is not None and name in _names(source):
                    return True
        return False

    def _source(self, path: str) -> str | None:
        """Return what stands in a file of code; None for any other, which is not even looked for."""
        if (frozen := FROZEN.fullmatch(path)) is not None:
            path = f"{sysconfig.get_path('stdlib')}/{frozen[1].replace('.', '/')}.py"
        if len(path) > LONGEST_PATH or not path.endswith(".py") or os.path.normpath(path) != path:
            return None
        return _text(path) if self._is_code(path) and self._is_code(os.path.realpath(path)) else None

    def _is_code(self, path: str) -> bool:
        """The innermost of the folders around it decides."""
        return _depth(path, self._roots) > _depth(path, self._hidden)


def is_code_word(word: str) -> bool:
    """Tell whether a word, such as the code of an error, stands in quotes in this service's own code."""
    return word in _code_words()


@cache
def _code_words() -> frozenset[str]:
    files = (path for folder in OUR_FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return frozenset(word for path in files for word in CODE.findall(path.read_text(errors="replace")))


def _both(folders: Iterable[str]) -> frozenset[str]:
    """Return folders as they are written and as they are once links are followed."""
    written = {os.path.abspath(folder) for folder in folders}
    return frozenset(written | {os.path.realpath(folder) for folder in written})


def _depth(path: str, folders: Iterable[str]) -> int:
    return max((len(folder) for folder in folders if path.startswith(f"{folder}/")), default=0)


@lru_cache(maxsize=256)
def _text(path: str) -> str | None:
    try:
        if os.path.getsize(path) > LARGEST_FILE:
            return None
        return Path(path).read_text(errors="replace")
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=256)
def _names(source: str) -> frozenset[str]:
    return frozenset(DEFINED.findall(source))
