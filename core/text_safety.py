"""Check that a piece of text can be stored, logged and shown without harm."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from pathlib import PurePosixPath

# Bidirectional overrides and isolates make a line read differently from what it says.
DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
LAYOUT = frozenset("\n\t")
# The same characters as `_fault` names, as one pattern: looking at 20 MB one by one takes seconds.
UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # of Unicode's characters
MAX_NAME_CHARACTERS = 100
MAX_FOLDERS = 4  # of a path that is shown
MAX_MARKS = 30  # on one letter: Unicode's own bound for text that is processed as a stream


def shown(text: str) -> str:
    """Make a stranger's text fit for a terminal, which would obey the control characters in it."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


class UncleanText(ValueError):
    """The text holds a character that is not taken; the message names it."""


def clean(text: str) -> str:
    """Return `text` in NFC; raise UncleanText at a character that is not text."""
    _check(text)
    return unicodedata.normalize("NFC", text)


def normal(text: str) -> str:
    """Return `text` in NFC; raise UncleanText at too many combining marks in a row, which take long to put in order."""
    _check_marks(text)
    return unicodedata.normalize("NFC", text)


def decode(content: bytes) -> str:
    """Decode UTF-8 with or without a byte order mark, turn line ends into newlines, and check for unclean text.

    What comes back is not in NFC: in JSON the n of an escaped line end would melt together with a mark that follows.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UncleanText(f"not UTF-8 at byte {error.start}; save it as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    _check(text)
    return text


def _check(text: str) -> None:
    if (found := UNCLEAN.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise UncleanText(f"{_fault(found[0])} U+{ord(found[0]):04X} in line {line}; remove it")
    _check_marks(text)


def _check_marks(text: str) -> None:
    # putting n marks of one letter in order takes n * n steps: minutes for a megabyte of them
    if not text.isascii() and _crowded(text):
        raise UncleanText(f"more than {MAX_MARKS} combining marks in a row; remove them")


def display_name(name: str, longest: int = 100) -> str:
    """Make a short label of a file name that someone else chose; never a path to open.

    Of a long one it keeps the begin and the end, in which names mostly differ.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(character for character in last if _fault(character) is None and character not in LAYOUT).strip()
    if len(kept) > longest:
        stem, dot, suffix = kept.rpartition(".")
        tail = f".{suffix}" if dot and stem and len(suffix) <= 8 else ""
        body, half = kept[: len(kept) - len(tail)], (longest - len(tail) - 1) // 2
        kept = f"{body[: longest - len(tail) - 1 - half]}~{body[-half:]}{tail}"
    return kept if kept.strip(".") else "unnamed"


def stem(name: str, longest: int = 60) -> str:
    """Return a label's name without its ending; of a long one the begin and the end, in which names mostly differ."""
    whole = PurePosixPath(display_name(name)).stem
    if len(whole) <= longest:
        return whole
    half = (longest - 1) // 2
    return f"{whole[:half]}~{whole[-half:]}"


def _crowded(text: str) -> bool:
    """Tell whether too many combining marks stand in a row, counting characters that fall apart into only marks."""
    run, rarer = _marks()
    return run.search(text if max(text) < "\U00010000" else text.translate(rarer)) is not None


@cache
def _marks() -> tuple[re.Pattern[str], dict[int, str]]:
    """Return a run of marks of the first 65,536 characters, of which alone a set is searched for fast, and the rest."""
    everything = map(chr, range(0x300, sys.maxunicode + 1))
    marks = [c for c in everything if unicodedata.combining(unicodedata.normalize("NFD", c)[0])]
    one = f"[{re.escape(''.join(c for c in marks if ord(c) < 0x10000))}]"
    return re.compile(f"{one}{one}{{{MAX_MARKS}}}"), {ord(c): "\u0301" for c in marks if ord(c) >= 0x10000}


def _fault(character: str) -> str | None:
    """Name what is wrong with a character, or None."""
    if character in LAYOUT:
        return None
    category = unicodedata.category(character)
    if category == "Cc":
        return "the control character"
    if category == "Cs":
        return "the lone surrogate"
    if character in DIRECTION_MARKS:
        return "the direction override"
    return None


def visible_path(name: str) -> str:
    """Return the last folders and the name of a file that was sent with a path, each as `visible_name`."""
    parts = [part for part in re.split(r"[/\\]", name) if part.strip(" .")]
    return "/".join(map(visible_name, parts[-MAX_FOLDERS - 1 :])) or visible_name("")


def visible_name(name: str) -> str:
    """Return the last part of a file name without anything invisible, at most 100 characters."""
    last = re.split(r"[/\\]", name)[-1]
    normal = unicodedata.normalize("NFC", last)
    visible = "".join(c for c in normal if unicodedata.category(c) not in INVISIBLE_CATEGORIES)
    return visible.strip(" .")[-MAX_NAME_CHARACTERS:] or "upload"
