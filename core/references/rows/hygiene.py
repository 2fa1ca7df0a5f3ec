"""What is no text is taken out of texts that are learned: foreign line ends, a terminal's escapes, stray marks.

Other than core.text_safety, which refuses it, in what a request says. Only what can't be stored is refused here.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable

from core import text_safety
from core.references.notices import Notice
from core.text_safety import UncleanText

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_SUSPECT = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
# The sequences of ECMA-48: to move and colour (CSI), titles and links (OSC), device strings, sets of characters.
# A letter behind a lone escape belongs to a word where small letters follow.
_ESCAPES = re.compile(
    "\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)|[PX^_][^\x1b\n]*\x1b\\\\"
    "|[!-/][ -/]*[0-~]| [FGLMN](?![a-z])|[78=>]|[cDEHMNOZ](?![a-z])|)|\x9b[0-9;]*[ABCDHJKm]"
)
_OVERSTRUCK = re.compile("_\x08(?=.)|(.)\x08(?=\\1)")  # underlined and bold, as manual pages are printed
_NEW_LINES = re.compile("\r\n?")
_NEXT_LINE = re.compile("\x85")
_WINDOWS = re.compile("[\x80\x82-\x84\x86-\x8c\x8e\x91-\x9c\x9e\x9f]")
_WINDOWS_OR_NEXT = re.compile("[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f]")
_OF_WINDOWS = {code: bytes([code]).decode("cp1252") for code in range(0x80, 0xA0) if _WINDOWS_OR_NEXT.match(chr(code))}
_DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_OPENING = {**dict.fromkeys("\u202a\u202b\u202d\u202e", "\u202c"), **dict.fromkeys("\u2066\u2067\u2068", "\u2069")}

MOSTLY = 0.7  # of the upper bytes of a western text, whose dashes and quotes have others
MAX_NULLS = 0.1  # of a text's bytes
_BINARY = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
MAX_LINES_JUDGED = 100  # one by one, of a text with marks of direction; a longer text is judged as a whole

# what is cleaned, as a finding calls one and several of them
LINE_END = ("line end of another system", "line ends of other systems")
PAGE = ("page break or vertical tab", "page breaks or vertical tabs")
ESCAPE = ("escape sequence of a terminal", "escape sequences of a terminal")
WINDOWS = ("sign of Windows-1252 that was read as Latin-1", "signs of Windows-1252 that were read as Latin-1")
CONTROL = ("control character", "control characters")
ORDER_MARK = ("byte order mark", "byte order marks")
DIRECTION = ("mark of direction", "marks of direction")
Cleaned = Counter[tuple[str, str]]
# in this order: a sequence is gone before its control characters are
_RULES: tuple[tuple[re.Pattern[str], str, tuple[str, str]], ...] = (
    (_NEW_LINES, "\n", LINE_END),
    (_ESCAPES, "", ESCAPE),
    (_NEXT_LINE, "\n", LINE_END),
    (re.compile("[\x0b\x0c]"), "\n", PAGE),
    (_OVERSTRUCK, "", CONTROL),
    (re.compile("[\x01-\x08\x0e-\x1f\x7f-\x9f]"), "", CONTROL),
    (re.compile("\ufeff"), "", ORDER_MARK),
)


def cleaned(text: str, *, directions: bool = True) -> tuple[str, Cleaned]:
    """Return `text` in NFC without what is no text, and how many of what were cleaned. To clean twice changes nothing.

    Marks of direction are kept where a right-to-left line needs them, and nowhere where `directions` is false.
    Raises UncleanText at a null, a lone surrogate, or too many combining marks; its message names line and column.
    """
    if (found := UNSTORABLE.search(text)) is not None:
        raise unstorable(text, found.start())
    counts: Cleaned = Counter()
    if _SUSPECT.search(text) is not None:
        text = _without_suspects(text, counts, directions)
    return text_safety.normal(text), counts


def unstorable(text: str, at: int) -> UncleanText:
    """Name a character of a text that can't be stored, and where it stands."""
    name = "null character" if text[at] == "\0" else "lone surrogate"
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return UncleanText(f"the {name} U+{ord(text[at]):04X} in line {line}, column {column}; remove it")


def _without_suspects(text: str, counts: Cleaned, directions: bool) -> str:
    for pattern, by, what in _RULES:
        if pattern is _NEXT_LINE and _WINDOWS.search(text) is not None:
            # U+0085 ends a line, unless its neighbours tell that it was the ellipsis of Windows-1252
            counts[WINDOWS] += sum(map(text.count, set(_WINDOWS_OR_NEXT.findall(text))))
            text = text.translate(_OF_WINDOWS)
        text, count = pattern.subn(by, text)
        if count:
            counts[what] += count
    return _directed(text, counts, directions) if _DIRECTIONS.search(text) is not None else text


def _directed(text: str, counts: Cleaned, kept_at_all: bool) -> str:
    """Keep the marks of lines that are written from right to left, at least in part, and close what they open."""
    if not kept_at_all or _RIGHT_TO_LEFT.search(text) is None:
        lines = [_DIRECTIONS.sub("", text)]
    elif text.count("\n") > MAX_LINES_JUDGED:
        lines = [_judged(text)]
    else:
        lines = [_judged(line) for line in text.split("\n")]
    kept = "\n".join(lines)
    if len(kept) < len(text):
        counts[DIRECTION] += len(text) - len(kept)
    return kept


def _judged(line: str) -> str:
    kept = _RIGHT_TO_LEFT.search(line) is not None and _balanced(line)
    return line if kept else _DIRECTIONS.sub("", line)


def _balanced(line: str) -> bool:
    """Tell whether the embeddings and isolates of a line are closed, each by its own sign, in order (UAX #9)."""
    expected: list[str] = []
    for mark in _DIRECTIONS.findall(line):
        if mark in _OPENING:
            expected.append(_OPENING[mark])
        elif mark in "\u202c\u2069" and (not expected or expected.pop() != mark):
            return False
    return not expected


class Washing:
    """Cleans the texts of a file, and remembers of each kind of dirt how much there was, and where it came first."""

    def __init__(self) -> None:
        self._counts: Cleaned = Counter()
        self._first: dict[tuple[str, str], str] = {}

    def clean(self, text: str, place: str) -> str:
        """Return a text cleaned; raises as `cleaned`."""
        plain, counts = cleaned(text)
        self.note(counts, place)
        return plain

    def note(self, counts: Cleaned, place: str) -> None:
        """Remember what was cleaned at a place."""
        for what, count in counts.items():
            self._counts[what] += count
            self._first.setdefault(what, place)

    def notices(self) -> Iterable[Notice]:
        """Yield one notice for every kind of dirt."""
        for what, count in self._counts.items():
            told = f"{count:,} {what[count > 1]}"
            yield Notice("cleaned", self._first[what], told)


def decoded(content: bytes) -> tuple[str, str | None]:
    """Return a file's text with newlines as line ends, and the name of its encoding where that is not UTF-8.

    UTF-16 and UTF-32 are read where a byte order mark says so. Raises UncleanText for other encodings and for nulls.
    """
    for mark, codec, name in ENCODINGS:
        if content.startswith(mark):
            text, encoding = _decoded(content, codec, name), name
            break
    else:
        if name_of := _wide(content[:1000]):
            raise UncleanText(f"it looks like {name_of} without a byte order mark; save it as UTF-8")
        text, encoding = _utf8(content), None
    text = text.lstrip("\ufeff")
    if (at := text.find("\0")) >= 0:
        raise unstorable(text, at)
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def is_text(head: bytes) -> bool:
    """Tell whether first bytes with nulls in them are text all the same: UTF-16 or UTF-32, with its mark or without."""
    return any(head.startswith(mark) for mark, _, _ in ENCODINGS) or _wide(head[:1000]) is not None


def holds_nulls(head: bytes) -> bool:
    """Tell whether first bytes are UTF-8 but for some nulls: then these are named, and where the first stands."""
    rest = head.replace(b"\0", b"")
    try:
        rest[:-3].decode()
    except UnicodeDecodeError:
        return False
    return len(head) - len(rest) <= max(1, MAX_NULLS * len(head)) and _BINARY.search(rest) is None


ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)


def _decoded(content: bytes, codec: str, name: str) -> str:
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        raise UncleanText(f"it begins as {name} and is not at byte {error.start}; save it as UTF-8") from None


def _utf8(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UncleanText(f"it is not UTF-8 at byte {error.start}, in line {line}; save it as UTF-8") from None


def _wide(head: bytes) -> str | None:
    """Name UTF-16 or UTF-32 by its nulls: mostly every second byte of western text, or three of four, and no others."""
    for width, name in ((4, "UTF-32"), (2, "UTF-16")):
        lanes = [head[at::width] for at in range(width)]
        for low in (0, width - 1) if len(head) >= 2 * width else ():
            others = [lane for lane in lanes if lane is not lanes[low]]
            if 0 not in lanes[low] and all(lane.count(0) >= MOSTLY * len(lane) for lane in others):
                return name
    return None
