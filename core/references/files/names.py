"""Names of files as other machines write them, and when two of them mean the same file.

macOS takes letters apart (NFD), Windows ignores case and old .NET and PowerShell write backslashes into archives, and
tables name files with or without their folders. Archives, captions, tables and edits of captions all ask here.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from core import text_safety

MAX_LABEL_CHARACTERS = 100
MAX_TAIL_FOLDERS = 20  # of a path that is found without its first folders: each tail of hundreds of folders takes room
_SEPARATOR = re.compile(r"[/\\]")


def canonical(path: str) -> str:
    """Return a path in NFC with slashes, without `.` and empty parts; nothing is left of one that names no file."""
    parts = (part for part in _SEPARATOR.split(path) if part not in ("", "."))
    return unicodedata.normalize("NFC", "/".join(parts))


def key(path: str) -> str:
    """Return what paths share that mean the same file, whatever machine wrote them: separators, form, case."""
    return unicodedata.normalize("NFC", canonical(path).casefold())


def loose_key(path: str) -> str:
    """Return what paths share that look alike: compatible forms of letters too (NFKC)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key(path)).casefold())


Form = Callable[[str], str]
FORMS: tuple[Form, ...] = (key, loose_key)


def parts(path: str) -> tuple[str, str, str]:
    """Return folder, stem and ending of a canonical path, the ending with its dot in small letters."""
    folder, _, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    return (folder, stem, f".{ending.lower()}") if dot and stem else (folder, name, "")


def without_ending(path: str) -> str:
    """Return a canonical path without the ending of its file."""
    folder, stem, _ = parts(path)
    return f"{folder}/{stem}" if folder else stem


def label(path: str) -> str:
    """Return a whole path fit to be shown and to be a name in an archive of ours; of a long one, its end."""
    shown = "/".join(text_safety.display_name(part) for part in canonical(path).split("/"))
    while len(shown) > MAX_LABEL_CHARACTERS and "/" in shown:
        shown = shown.partition("/")[2]
    return shown


def labels(paths: Sequence[str]) -> dict[str, str]:
    """Return a label for each path: the name of its file, with as many of its folders as keep equal names apart.

    An ending keeps nothing apart, for it is not kept.
    """
    folders = dict.fromkeys(paths, 0)
    while True:
        shown = {path: "/".join(path.split("/")[-1 - folders[path] :]) for path in paths}
        short = {path: key(without_ending(name)) for path, name in shown.items()}
        meant = Counter(short[path] for path in {key(without_ending(path)): path for path in paths}.values())
        unclear = [path for path in paths if meant[short[path]] > 1 and folders[path] < path.count("/")]
        if not unclear:
            return {path: label(name) for path, name in shown.items()}
        for path in unclear:
            folders[path] += 1


def kept(name: str, mark: str = "") -> str:
    """Return the name without its ending under which an image is kept, in its folders and with a mark before it."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{mark}{text_safety.stem(last) or 'image'}"


class Index:
    """Finds files by what somebody else calls them: with or without folders, with another ending or none."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._whole: dict[tuple[Form, str], list[str]] = defaultdict(list)
        self._tails: dict[tuple[Form, str], list[str]] = defaultdict(list)
        for path in paths:
            for form, shape in itertools.product(FORMS, dict.fromkeys((path, without_ending(path)))):
                self._whole[form, form(shape)].append(path)
                for tail in _tails(shape):
                    self._tails[form, form(tail)].append(path)

    def find(self, name: str, folder: str = "", *, as_it_is: bool = False) -> list[str]:
        """Return the files that a name in a folder can mean, those of the closest kind of match only.

        A name that was made of another file's by taking its ending off is looked for `as_it_is`: what follows its last
        dot is no ending.
        """
        plain = canonical(name)
        shapes = [plain] if as_it_is else list(dict.fromkeys((plain, without_ending(plain))))
        for form, place, shape in itertools.product(FORMS, dict.fromkeys((folder, "")), shapes):
            if found := self._whole.get((form, form(f"{place}/{shape}" if place else shape))):
                return list(found)
        # tables often hold the paths of the machine that they were made on, and captions may have a folder of their own
        for form, tails in itertools.product(FORMS, zip(*map(_tails, shapes), strict=True)):
            for tail in tails:
                if found := self._tails.get((form, form(tail))):
                    return list(found)
        return []


def _tails(path: str) -> list[str]:
    """Return a path, and what is left of it without its first folder, its first two, ...; of a deep one, its end."""
    parts = path.split("/")[-1 - MAX_TAIL_FOLDERS :]
    return ["/".join(parts[at:]) for at in range(len(parts))]
